"""Axis labels, titles, notes, aspect ratio, and the mark at the centre."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.mathtext import MathTextParser
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from lsweep.errors import InputError
from lsweep.render.field import Field
from lsweep.render.levels import is_flat, plain
from lsweep.render.scale import Scale

AXIS_LABELS = {
    "x": r"$\alpha$  (along $d_1$)",
    "y": r"$\beta$  (along $d_2$)",
    "z": r"$\gamma$  (along $d_3$)",
}
# Notation of [Li18] §6 for the extreme eigenvalues of the Hessian.
METRIC_NAMES = {
    "eig_min": r"$\lambda_{\min}$",
    "eig_max": r"$\lambda_{\max}$",
    "eig_ratio": r"$|\lambda_{\min}/\lambda_{\max}|$",
}
MOST_TICKS = 16
GREY = "0.85"  # where NaN is a result

# Small type for a column of a paper; Type 42 fonts, because many publishers reject Type 3.
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "lsweep",
}


def name_of(metric: str, percent: bool) -> str:
    """A metric's name on an axis: "loss_test" becomes "loss, test"."""
    if metric in METRIC_NAMES:
        return METRIC_NAMES[metric]
    head, _, split = metric.partition("_")
    known = head in ("loss", "accuracy") and split
    return (f"{head}, {split.replace('_', ' ')}" if known else metric) + (" (%)" if percent else "")


def check_title(title: str) -> None:
    """Raise InputError for a title with a formula that matplotlib cannot typeset."""
    try:
        MathTextParser("path").parse(title)
    except ValueError as error:
        raise InputError(
            f"title {title!r} has a formula that matplotlib cannot typeset: {error}", key="title"
        ) from error


def heading(ax: Axes, title: str, notes: Iterable[str]) -> None:
    """Set the title and, in small type below it, the remarks."""
    top = 0.89 if ax.name == "3d" else 1.0  # the box of a 3D drawing leaves the top of its axes empty
    remarks = " · ".join(notes)
    if not title and not remarks:
        return
    ax.set_title(title, y=1.0, pad=16 if remarks else 6).set_y(top)  # mplot3d would shift a y given here
    if remarks:
        ax.annotate(
            remarks,
            xy=(0.5, top),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize="x-small",
            color="0.35",
        )


def remarks(field: Field, scale: Scale, *, nan_grey: bool = False) -> tuple[str, ...]:
    """The notes of a field, and notes on clipping and constant values."""
    notes = tuple(f"{note} (grey)" if nan_grey and note.endswith(" NaN") else note for note in field.notes)
    if scale.clip is not None and (field.values > scale.clip).any():
        notes += (f"clipped at {plain(scale.clip, scale.percent)}",)
    if not len(field.finite):
        return (*notes, "no finite value")
    low, high = float(field.finite.min()), float(field.finite.max())
    return (*notes, f"constant: {plain(low, field.percent)}") if is_flat(low, high) else notes


def plane(ax: Axes, field: Field) -> None:
    """Set labels and limits of the axes of a plane, with equal units unless the plane would get too thin."""
    x, y = field.axes
    ax.set_xlabel(AXIS_LABELS[field.names[0]])
    ax.set_ylabel(AXIS_LABELS[field.names[1]])
    ax.set_xlim(float(x[0]), float(x[-1]))
    ax.set_ylim(float(y[0]), float(y[-1]))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    equal = 1 / 3 <= np.ptp(y) / np.ptp(x) <= 3
    ax.set_aspect("equal" if equal else "auto", adjustable="box")


def centre(ax: Axes, color: str) -> None:
    """Mark the trained network at (0, 0) if it is within the axes."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    if left <= 0 <= right and low <= 0 <= high:
        ax.plot([0], [0], marker="+", markersize=6, markeredgewidth=1.1, color=color, zorder=5)


def ticks(axis: Any, scale: Scale, at: np.ndarray | None = None) -> None:
    """Set plain tick labels on an axis of values, at round numbers or at the given ones."""
    at = scale.ticks() if at is None else at[:: 1 + len(at) // MOST_TICKS]
    axis.set_major_locator(FixedLocator([float(tick) for tick in at]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
