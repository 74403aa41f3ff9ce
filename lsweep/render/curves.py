"""Line plots: loss on the left axis, accuracy on the right, train and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lsweep.render import frame
from lsweep.render.field import Field, configuration, extract
from lsweep.render.look import Look
from lsweep.render.scale import Scale
from lsweep.surface import Surface

LOSS, ACCURACY = "#0072B2", "#D55E00"  # blue and vermilion of Okabe and Ito, safe for colour-blind readers
FEW = 31  # up to this many points, each is marked
DASHES = ("-", "--", ":", "-.")  # one per split, train and test as in [Li18] figure 2


@dataclass(frozen=True)
class Curves:
    """The curves of one panel: the metric in every split and, for a loss, the accuracy in every split."""

    left: list[Field]
    right: list[Field]


def curves(surface: Surface, look: Look) -> Curves:
    """Extract the curves of a panel from a surface. Raises InputError as `field.extract` does."""
    left = [extract(surface, name, 1, look.index) for name in _splits(surface, look.metric)]
    if look.metric != "loss" or "accuracy" not in surface.metrics:
        return Curves(left, [])
    right = [extract(surface, name, 1, look.index) for name in _splits(surface, "accuracy")]
    return Curves(left, [field for field in right if len(field.finite)])


def draw_line(
    ax: Axes, surface: Surface, curves: Curves, scale: Scale, *, dots: bool = False
) -> list[Line2D]:
    """Draw both families of curves, optionally with a dot at each evaluated point; returns the lines for a legend."""
    first = curves.left[0]
    handles = _family(ax, surface, curves.left, ACCURACY if scale.percent else LOSS, scale)
    ax.set_yscale("log" if scale.log else "linear")
    ax.set_ylim(*_room(scale))
    if scale.log:
        frame.ticks(ax.yaxis, scale)
    x = first.axes[0]
    ax.set_xlabel(frame.AXIS_LABELS[first.names[0]])
    ax.set_ylabel(_axis_name(curves.left))
    if len(x) > 1:
        ax.set_xlim(float(x[0]), float(x[-1]))
    ax.grid(True, color="0.92", linewidth=0.5)
    ax.set_axisbelow(True)
    if curves.right:
        ax.yaxis.label.set_color(LOSS)
        handles += _right_axis(ax, surface, curves.right)
    for line, field in zip(handles, [*curves.left, *curves.right] if dots else [], strict=False):
        line.set_marker(".")
        line.set_markevery(np.flatnonzero(field.thinned().evaluated).tolist())
    return handles


def _right_axis(ax: Axes, surface: Surface, fields: list[Field]) -> list[Line2D]:
    twin = ax.twinx()
    handles = _family(twin, surface, fields, ACCURACY, None)
    twin.set_ylim(-4, 104)
    twin.set_ylabel(_axis_name(fields), color=ACCURACY)
    return handles


def _family(ax: Axes, surface: Surface, fields: list[Field], color: str, scale: Scale | None) -> list[Line2D]:
    """Draw curves in one colour, with one dash style per split. Points are marked if they are few or there are gaps."""
    handles = []
    for field, dash in zip(fields, DASHES * len(fields), strict=False):
        shown = field.thinned()
        values = shown.values if scale is None else scale.drawn(shown.values)
        mark = "." if field.partial or len(values) <= FEW or not np.isfinite(values).all() else ""
        label = _label(surface, field.metric)
        handles += ax.plot(*shown.axes, values, dash, color=color, marker=mark, linewidth=1.3, label=label)
    return handles


def _room(scale: Scale) -> tuple[float, float]:
    """The vertical limits, with a small margin around the values, but none at an end set by the user."""
    low, high = scale.linear(np.array([scale.vmin, scale.vmax]))
    air = 0.04 * (high - low)
    bottom = low - air if scale.vmin <= scale.lo else low
    top = high + air if scale.vmax >= scale.hi else high
    return (float(10**bottom), float(10**top)) if scale.log else (float(bottom), float(top))


def _splits(surface: Surface, metric: str) -> list[str]:
    """The metric in all splits ("loss", "loss_test"), in the order of the file."""
    data = configuration(surface).get("data")
    split = data.get("split") if isinstance(data, dict) else None
    known = set(split) if isinstance(split, list) else {"train", "test", "val", "validation"}
    return [metric, *(name for name in surface.metrics if name in {f"{metric}_{split}" for split in known})]


def _label(surface: Surface, metric: str) -> str:
    """The name of a curve in the legend, with its split if known."""
    head, _, split = metric.partition("_")
    if head not in ("loss", "accuracy"):
        return frame.METRIC_NAMES.get(metric, metric)
    data = configuration(surface).get("data")
    first = data.get("split") if isinstance(data, dict) else None
    first = first[0] if isinstance(first, list) and first else first
    split = split or (first if isinstance(first, str) else "")
    return f"{head}, {split}" if split else head


def _axis_name(fields: list[Field]) -> str:
    """The label of an axis: the metric without its split, which is in the legend."""
    field = fields[0]
    name = field.metric.partition("_")[0] if field.metric.startswith(("loss_", "accuracy_")) else field.metric
    return f"{name} (%)" if field.percent else frame.METRIC_NAMES.get(name, name)
