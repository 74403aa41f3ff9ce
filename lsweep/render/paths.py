"""Training paths on a plane: checkpoints, learning-rate drops, start and end."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lsweep.errors import InputError
from lsweep.render import frame
from lsweep.render.field import Field, place_of
from lsweep.surface import Surface, Trajectory

# Colours of Okabe and Ito that contrast with viridis: vermilion, reddish purple, black, sky blue.
COLORS = ("#D55E00", "#CC79A7", "#000000", "#56B4E9")
DASHES = ("-", "--", "-.", ":")


def trajectory_of(surface: Surface) -> Trajectory:
    """The training path in a file. Raises InputError if there is none."""
    if surface.trajectory is None:
        raise InputError(
            f"{place_of(surface)} has no trajectory; set directions.trail to the folder written by `lsweep train`, and "
            "sweep again",
            key="kind",
        )
    return surface.trajectory


def draw_path(ax: Axes, surface: Surface, field: Field) -> list[Line2D]:
    """Draw the paths over a drawn plane, and add the share of each axis to its label.

    Returns:
        Handles for a legend: one line per trail, and the marker of a learning-rate drop.
    """
    path = trajectory_of(surface)
    columns = ["xyz".index(name) for name in field.names]
    _label_axes(ax, path, field, columns)
    handles = []
    dropped = False
    for index, name in enumerate(path.names):
        own = path.trails == index
        x, y = path.coordinates[own][:, columns].T
        color, dash = COLORS[index % len(COLORS)], DASHES[index % len(DASHES)]
        size = 3.0 if own.sum() <= 60 else 1.5
        (line,) = ax.plot(
            x, y, dash, color=color, linewidth=1.0, marker="o", markersize=size, zorder=4, label=_plain(name)
        )
        ax.plot(x[:1], y[:1], "s", color=color, markersize=5, zorder=5)
        ax.plot(x[-1:], y[-1:], "*", color=color, zorder=7, **END)
        drops = drops_of(path.learning_rates[own])
        dropped |= bool(drops)
        ax.plot(x[drops], y[drops], zorder=6, **DROP)
        handles.append(line)
    if dropped:
        handles.append(Line2D([], [], label="learning rate drops", **DROP))
    return handles


# Drawn over the last checkpoints, and distinct from them.
END: dict[str, Any] = {"markersize": 10, "markeredgecolor": "white", "markeredgewidth": 0.6}
# A hollow marker larger than any checkpoint, so that the checkpoint stays visible.
DROP: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 7,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 1.2,
}


def drops_of(learning_rates: np.ndarray) -> list[int]:
    """The indices of the checkpoints after which the learning rate drops; unknown rates give no drops."""
    before, after = learning_rates[:-1], learning_rates[1:]
    return [int(i) for i in np.flatnonzero(after < before * (1 - 1e-9))]


def _label_axes(ax: Axes, path: Trajectory, field: Field, columns: list[int]) -> None:
    for set_label, name, column in zip(("set_xlabel", "set_ylabel"), field.names, columns, strict=True):
        what, share = share_of(path, column)
        getattr(ax, set_label)("\n".join(filter(None, [what or frame.AXIS_LABELS[name], share])))


def share_of(path: Trajectory, column: int) -> tuple[str | None, str]:
    """The principal component of an axis (None if it is none), and the share of the path along it, or ""."""
    explained = path.explained[column]
    if np.isnan(explained):
        share = path.shares[column]  # NaN in a path from another program
        return None, "" if np.isnan(share) else f"{_percent(share)} of the movement"
    order = int((~np.isnan(path.explained[:column])).sum())
    return f"{('1st', '2nd', '3rd')[order]} PCA component", f"{_percent(explained)} of the variance"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.2f} %" if percent >= 0.01 or percent == 0 else f"{percent:.1g} %"


def _plain(name: str) -> str:
    return name.replace("$", r"\$").removeprefix("_")
