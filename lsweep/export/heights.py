"""Heights and point data of a VTK file, computed from metrics. Numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lsweep.errors import InputError
from lsweep.surface import Surface

AUTO_HEIGHT = 0.5  # height in units of the longer side, for scale = "auto"


@dataclass(frozen=True)
class Height:
    """How a metric is converted to a height.

    Attributes:
        metric: name of the metric.
        log: whether to take its log10.
        clip: larger values are replaced by this one (before the log); None for no clipping.
        scale: factor on the height; "auto" makes the relief half as high as the plane is wide.
    """

    metric: str = "loss"
    log: bool = False
    clip: float | None = None
    scale: float | str | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not math.isfinite(self.clip):
            raise InputError(f"clip must be a finite number, got {self.clip}", key="clip")
        if self.log and self.clip is not None and self.clip <= 0:
            raise InputError(f"with log, clip must be above 0, got {self.clip:g}", key="clip")
        valid = self.scale in (None, "auto") or (
            isinstance(self.scale, float | int) and math.isfinite(self.scale) and self.scale != 0
        )
        if not valid:
            raise InputError(
                f"scale must be a number other than 0, or 'auto', got {self.scale!r}", key="scale"
            )


def heights(surface: Surface, how: Height) -> tuple[np.ndarray, np.ndarray]:
    """The height of every point, and a mask of the points with a value.

    Settled points have their interpolated value. Points that are pending, failed or NaN get the lowest finite height,
    infinities the highest; with log, a value that is not positive gets the lowest.

    Returns:
        Heights, float64, finite, of the surface's shape; and a boolean mask of the same shape, True where a value is.

    Raises:
        InputError: the metric is unknown, log is set but no value is positive, or the scaled heights overflow.
    """
    values, known = _drawn(surface, how)
    times, filled = _factor(surface, values[known], how.scale), _filled(values, known)
    if not math.isfinite(times * float(np.abs(filled).max(initial=0.0))):
        raise InputError(f"scale {how.scale} makes the heights overflow; use a smaller one", key="scale")
    return times * filled, known


def factor(surface: Surface, how: Height) -> float:
    """The numerical factor of the height's scale. Raises InputError as `heights` does."""
    values, known = _drawn(surface, how)
    return _factor(surface, values[known], how.scale)


def _drawn(surface: Surface, how: Height) -> tuple[np.ndarray, np.ndarray]:
    """Values after clipping and log, not yet multiplied or filled, and a mask of the known ones."""
    values = _values(surface, how.metric)
    known = (surface.done | surface.settled) & ~np.isnan(values)
    if how.clip is not None:
        values = np.where(values > how.clip, how.clip, values)
    if how.log:
        values = log10(np.where(values > 0, values, 0.0))
        if known.any() and not np.isfinite(values[known]).any() and not (values[known] == np.inf).any():
            raise InputError(f"log needs positive values, {how.metric} has none; use --no-log", key="log")
    return values, known


def point_data(surface: Surface, metric: str) -> dict[str, np.ndarray]:
    """Every metric, interpolated at settled points and NaN at points that are not done, and the status.

    In addition, `log_loss` (and `log_` of the chosen metric) is its log10: −inf for zero, NaN for negative values.
    Raises InputError for an unknown metric.
    """
    _values(surface, metric)
    known = surface.done | surface.settled
    data = {name: np.where(known, surface.filled(name), np.nan) for name in surface.metrics}
    for name in dict.fromkeys(("loss", metric)):
        if name in data:
            data[f"log_{name}"] = log10(data[name])
    return data | {"status": surface.status.astype(np.uint8)}


def log10(values: np.ndarray) -> np.ndarray:
    """log10 without warnings: −inf for 0, NaN for negative values."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values)


def _values(surface: Surface, metric: str) -> np.ndarray:
    if metric not in surface.metrics:
        place = surface.path.name if surface.path else "the surface"
        raise InputError(
            f"no metric {metric!r} in {place} (valid: {', '.join(sorted(surface.metrics))})", key="metric"
        )
    return np.asarray(surface.filled(metric), dtype=np.float64)


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values with infinities clipped to the finite range, and unknown values replaced by its minimum."""
    finite = values[known & np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return np.clip(np.where(known, values, low), low, high)


def _factor(surface: Surface, values: np.ndarray, scale: float | str | None) -> float:
    if scale is None:
        return 1.0
    if isinstance(scale, float | int):
        return float(scale)
    finite = values[np.isfinite(values)]
    # Python floats overflow to infinity without the warning that numpy gives.
    height = float(finite.max()) - float(finite.min()) if len(finite) else 0.0
    width = max(float(axis[-1]) - float(axis[0]) for axis in surface.axes.values())
    return AUTO_HEIGHT * width / height if height > 1e-290 and width > 0 else 1.0
