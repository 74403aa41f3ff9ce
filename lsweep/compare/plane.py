"""A line or plane of one metric, prepared for measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsweep.errors import InputError, nearest
from lsweep.grid import AXIS_NAMES
from lsweep.render.field import LARGEST, place_of
from lsweep.surface import Surface

SMALLEST = 1 / LARGEST  # of steps, which are squared


@dataclass(frozen=True)
class Plane:
    """A loss over the axes with more than one point.

    Attributes:
        names: the names of these axes, x first.
        steps: the spacing along each.
        values: float64, (ny, nx), (nx,) or () for a single point: interpolated where settled, NaN where unknown.
        known: boolean, same shape: True where there is a result or an interpolated value.
        centre: the index of θ* in `values`; None if θ* is not a grid point.
    """

    names: tuple[str, ...]
    steps: tuple[float, ...]
    values: np.ndarray
    known: np.ndarray
    centre: tuple[int, ...] | None

    @property
    def log(self) -> np.ndarray:
        """ln of the values; NaN where they are not finite.

        A zero is replaced by the smallest positive value, as in figures. If any value is negative, all are NaN.
        """
        finite = np.isfinite(self.values)
        positive = self.values[finite & (self.values > 0)]
        if not positive.size or (self.values[finite] < 0).any():
            return np.full(self.values.shape, np.nan)
        logs: np.ndarray = np.log(np.where(finite, np.maximum(self.values, positive.min()), np.nan))
        return logs

    def at_centre(self, values: np.ndarray) -> float:
        """The value of an array at θ*; NaN if θ* is not a grid point."""
        return float("nan") if self.centre is None else float(values[self.centre])


def plane_of(surface: Surface, metric: str) -> Plane:
    """The plane or line of a loss; axes of one point are dropped.

    Raises:
        InputError: `metric` is not a loss of this surface, the surface is a box, or an axis is not equally spaced.
    """
    losses = [name for name in surface.metrics if name == "loss" or name.startswith("loss_")]
    losses = [name for name in losses if not name.endswith("_stderr")]
    if metric not in losses:
        raise InputError(f"no loss {metric!r} in {place_of(surface)}{nearest(metric, losses)}", key="metric")
    names = tuple(n for n in AXIS_NAMES[: surface.ndim] if len(surface.axes[n]) > 1)
    if len(names) > 2:
        raise InputError(f"{place_of(surface)} is a box; only lines and planes can be compared", key="files")
    steps = tuple(_step(surface, n) for n in names)
    shape = tuple(len(surface.axes[n]) for n in reversed(names))
    origin = [_zero(surface.axes[n]) for n in reversed(AXIS_NAMES[: surface.ndim])]
    wide = [o for o, n in zip(origin, surface.shape, strict=True) if n > 1]
    centre = None if any(o is None for o in origin) else tuple(o for o in wide if o is not None)
    return Plane(
        names,
        steps,
        np.asarray(surface.filled(metric), dtype=np.float64).reshape(shape),
        (surface.done | surface.settled).reshape(shape),
        centre,
    )


def _zero(axis: np.ndarray) -> int | None:
    """The index of 0 on an axis, up to rounding, or None."""
    nearest_to_zero = int(np.abs(axis).argmin())
    return nearest_to_zero if abs(axis[nearest_to_zero]) <= 1e-9 * float(np.ptp(axis)) else None


def _step(surface: Surface, name: str) -> float:
    axis = surface.axes[name]
    with np.errstate(over="ignore"):
        step = float((axis[-1] - axis[0]) / (len(axis) - 1))
        even = np.abs(np.diff(axis) - step).max() <= 1e-6 * step
    if not (SMALLEST < step < LARGEST and even):
        raise InputError(f"{place_of(surface)}: the axis {name} is not equally spaced", key=name)
    return step
