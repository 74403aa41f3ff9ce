"""Options of a figure, validated once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from lsweep.errors import InputError, nearest

KINDS = ("auto", "contour", "filled", "heatmap", "surface", "line", "trajectory", "curvature", "scene")

Log = bool | Literal["auto"]
Levels = int | Sequence[float] | None


class LookOptions(TypedDict, total=False):
    """Keywords common to all drawing functions. Accuracies are in per cent wherever a value is drawn.

    metric: the metric to draw: "loss", "accuracy", "loss_test", …
    log: whether to use a logarithmic scale; "auto" uses one if the values are positive and span more than a factor of
        `scale.LOG_RATIO`, but never for an accuracy.
    clip: larger values are drawn at this height, and the figure states this.
    vmin, vmax: the ends of the scale (colours, vertical axis); by default those of the values.
    levels: the approximate number of contour levels, or the levels themselves.
    cmap: the name of a matplotlib colour map; by default viridis, reversed for an accuracy, so that
        good networks are dark in both.
    index: index of the slice of a box (along z), or of the row of a plane drawn as a line (along y); by
        default the one nearest to 0.
    title: title above the axes; by default the network's name from the sweep's configuration.
    show_evaluated: mark evaluated points with dots in flat figures of a refined sweep; the others are interpolated.
    colorbar: whether to draw a colour bar; by default for `filled` and `heatmap`. A 3D surface has none, because its
        vertical axis shows the same.
    style: "li2018" for the colours and levels of the figures of [Li18], for options that are not set.
    """

    metric: str
    log: Log
    clip: float | None
    vmin: float | None
    vmax: float | None
    levels: Levels
    cmap: str | None
    index: int | None
    title: str | None
    colorbar: bool | None
    show_evaluated: bool
    style: str | None


@dataclass(frozen=True)
class Look:
    """`LookOptions` with defaults, validated. Raises InputError."""

    metric: str = "loss"
    log: Log = "auto"
    clip: float | None = None
    vmin: float | None = None
    vmax: float | None = None
    levels: Levels = None
    cmap: str | None = None
    index: int | None = None
    title: str | None = None
    colorbar: bool | None = None
    show_evaluated: bool = False

    def __post_init__(self) -> None:
        for key in ("clip", "vmin", "vmax"):
            value = getattr(self, key)
            if value is not None and not math.isfinite(value):
                raise InputError(f"{key} must be a finite number, got {value}", key=key)
        if self.vmin is not None and self.vmax is not None and self.vmin >= self.vmax:
            raise InputError(f"vmin must be below vmax, got {self.vmin:g} and {self.vmax:g}", key="vmin")
        if self.log not in (True, False, "auto"):
            raise InputError(f"log must be true, false or 'auto', got {self.log!r}", key="log")
        self._check_log_bounds()
        self._check_levels()

    def _check_log_bounds(self) -> None:
        for key in ("clip", "vmin", "vmax"):
            value = getattr(self, key)
            if self.log is True and value is not None and value <= 0:
                raise InputError(f"on a log scale {key} must be above 0, got {value:g}", key=key)

    def _check_levels(self) -> None:
        if self.levels is None:
            return
        if isinstance(self.levels, int):
            if not 1 <= self.levels <= 1000:
                raise InputError(f"the number of levels must be 1 to 1000, got {self.levels}", key="levels")
            return
        if not len(self.levels) or not all(math.isfinite(level) for level in self.levels):
            raise InputError(f"levels must be finite numbers, got {list(self.levels)}", key="levels")


def check_kind(kind: str) -> None:
    """Raise InputError, which suggests a valid kind, for an unknown kind of figure."""
    if kind not in KINDS:
        raise InputError(f"unknown kind of figure {kind!r}{nearest(kind, KINDS)}", key="kind")
