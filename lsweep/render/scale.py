"""Scale shared by the panels of a figure: limits, log or linear, levels and colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, LogNorm, Normalize

from lsweep.errors import InputError, nearest
from lsweep.render.field import Field
from lsweep.render.levels import SMALLEST, is_flat, round_levels, shared_levels
from lsweep.render.look import Look

# "auto" is logarithmic if the ratio of the largest to the smallest positive value exceeds this.
# 50 leaves an ordinary line plot linear and makes a bowl (0.05 to 10) logarithmic.
LOG_RATIO = 50.0
LEVELS = 11  # approximate number of contour levels, each with a label
SHARED_LEVELS = 8  # fewer with several panels: levels that suit one panel are close together in another


@dataclass(frozen=True)
class Scale:
    """Mapping from values to positions and colours.

    Attributes:
        lo, hi: the finite range of the values of all panels, after clipping; on a log scale `lo` > 0.
        vmin, vmax: the ends of the colours and of the vertical axis; always vmin < vmax.
        log: whether the scale is logarithmic.
        levels: contour levels in increasing order, in the units of the values.
        cmap: the colour map.
        percent: whether the values are in per cent.
        clip: the value at which the data were clipped; None if no value was changed.
    """

    lo: float
    hi: float
    vmin: float
    vmax: float
    log: bool
    levels: np.ndarray
    cmap: Colormap
    percent: bool
    clip: float | None

    def drawn(self, values: np.ndarray) -> np.ndarray:
        """Values as drawn: clipped to [lo, hi], with infinities at the ends and NaN where nothing is drawn.

        On a log scale, a zero is drawn at the smallest positive value.
        """
        return np.clip(values, self.lo, self.hi)

    def linear(self, values: np.ndarray) -> np.ndarray:
        """Values, or their log10 on a log scale; heights and contours are interpolated in these."""
        return np.log10(values) if self.log else np.asarray(values, dtype=np.float64)

    def norm(self) -> Normalize:
        """The mapping from values to [0, 1] for matplotlib."""
        kind = LogNorm if self.log else Normalize
        return kind(self.vmin, self.vmax, clip=True)

    def ticks(self, count: int = 7) -> np.ndarray:
        """Round numbers in [vmin, vmax] for an axis or a colour bar."""
        return round_levels(self.vmin * (1 - 1e-12), self.vmax * (1 + 1e-12), count, log=self.log)


def choose(fields: Sequence[Field], look: Look) -> Scale:
    """Choose the common scale of several panels. Raises InputError if there is none."""
    percent = any(field.percent for field in fields)
    finite = np.concatenate([field.finite for field in fields]) if fields else np.array([])
    top = look.clip if look.clip is not None else math.inf
    clip = look.clip if any((field.values > top).any() for field in fields) else None
    log = _use_log(np.minimum(finite, top), look, percent)
    lo, hi = _range(np.minimum(finite, top), log)
    vmin, vmax = _ends(lo, hi, look, log)
    return Scale(
        lo=lo,
        hi=hi,
        vmin=vmin,
        vmax=vmax,
        log=log,
        levels=_levels(fields, look, (lo, hi), (vmin, vmax), log),
        cmap=colormap(look.cmap or ("viridis_r" if percent else "viridis")),
        percent=percent,
        clip=clip,
    )


def colormap(name: str) -> Colormap:
    """A matplotlib colour map by name. Raises InputError, which suggests a similar name, for an unknown one."""
    if name not in matplotlib.colormaps:
        raise InputError(f"unknown colour map {name!r}{nearest(name, matplotlib.colormaps)}", key="cmap")
    return matplotlib.colormaps[name]


def _use_log(finite: np.ndarray, look: Look, percent: bool) -> bool:
    positive = finite[finite > SMALLEST]
    if look.log != "auto":
        if look.log and len(finite) and not len(positive):
            raise InputError(
                f"a log scale needs positive values, but {look.metric} has none; use --no-log", key="log"
            )
        return look.log
    bounds = [bound for bound in (look.clip, look.vmin, look.vmax) if bound is not None]
    if percent or not len(positive) or (finite < 0).any() or any(bound <= 0 for bound in bounds):
        return False
    return bool(positive.max() > LOG_RATIO * positive.min())


def _range(finite: np.ndarray, log: bool) -> tuple[float, float]:
    values = finite[finite > SMALLEST] if log else finite
    if not len(values):
        return (0.1, 1.0) if log else (0.0, 1.0)
    lo, hi = float(values.min()), float(values.max())
    return (hi, hi) if is_flat(lo, hi) else (lo, hi)


def _ends(lo: float, hi: float, look: Look, log: bool) -> tuple[float, float]:
    vmin = lo if look.vmin is None else look.vmin
    vmax = hi if look.vmax is None else look.vmax
    # Two distinct ends are needed also for a constant surface, and for one outside a single given end.
    if not is_flat(vmin, vmax):
        return vmin, vmax
    if look.vmax is None:
        vmax = 2 * vmin if log else vmin + max(abs(vmin) / 10, 1e-3)
    if look.vmin is None:
        vmin = vmax / 4 if log else vmax - 2 * max(abs(vmax) / 10, 1e-3)
    return vmin, vmax


def _levels(
    fields: Sequence[Field], look: Look, data: tuple[float, float], ends: tuple[float, float], log: bool
) -> np.ndarray:
    if look.levels is not None and not isinstance(look.levels, int):
        levels = np.unique(np.asarray(look.levels, dtype=np.float64))
        if log and levels[0] <= 0:
            raise InputError(f"on a log scale levels must be above 0, got {levels[0]:g}", key="levels")
        return levels
    lo, hi = max(data[0], ends[0]), min(data[1], ends[1])
    spans = [np.clip(field.finite, lo, hi) for field in fields if len(field.finite)]
    count = look.levels or (LEVELS if len(fields) == 1 else SHARED_LEVELS)
    return shared_levels([(float(v.min()), float(v.max())) for v in spans], count, log=log)
