"""Hierarchy of nested grids, and interpolation from a coarse grid to the next finer one.

The levels are nested lattices. Each step to the next level halves the stride along one axis, so a new point lies
between two old ones of that axis, and a cubic through the four nearest predicts it (Deslauriers, Dubuc 1989). A point
that was not evaluated takes its prediction and serves as an old point at the finer levels (Harten's multiresolution,
Donoho's interpolating wavelets: an unmeasured detail coefficient is zero). So every step starts from a full lattice,
whatever was evaluated, and one function fills gaps for the planner (`lsweep.grid.refine`) and for readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST = 8  # intervals along an axis of the coarsest lattice of which every point is evaluated


@dataclass(frozen=True)
class Step:
    """A step from one level to the next, which halves the stride along one axis.

    Attributes:
        axis: the axis whose stride is halved.
        before, after: the lattices of the two levels, as indices into the grid per axis.
        strides: the strides of `after`, per axis.
        whole: whether `after` belongs to the coarse lattice of which every point is evaluated.
    """

    axis: int
    before: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]
    strides: tuple[int, ...]
    whole: bool

    @property
    def _is_new(self) -> np.ndarray:
        return ~np.isin(self.after[self.axis], self.before[self.axis])

    @property
    def points(self) -> tuple[np.ndarray, ...]:
        """The new points, as indices per axis."""
        return tuple(a[self._is_new] if axis == self.axis else a for axis, a in enumerate(self.after))

    def predict(self, filled: np.ndarray) -> np.ndarray:
        """Predict the values at the new points from those of the lattice before.

        Args:
            filled: (…, *lattice before) float64, NaN where unknown.

        Returns:
            (…, *new points): cubic; linear where one of the outer two points is NaN; NaN where an inner one is.
        """
        values = np.moveaxis(filled, self.axis - len(self.after), -1)
        result = between(values, self.before[self.axis], self.points[self.axis])
        return np.moveaxis(result, -1, self.axis - len(self.after))

    def sides(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of an array over the lattice before, at the old points to the left and right of each new one."""
        right = np.searchsorted(self.before[self.axis], self.points[self.axis])
        return np.take(array, right - 1, self.axis), np.take(array, right, self.axis)

    def merge(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Merge arrays over the lattice before and over the new points into one over the lattice after."""
        leading = old.ndim - len(self.after)
        merged = np.empty((*old.shape[:leading], *map(len, self.after)), dtype=new.dtype)
        along: Any = (slice(None),) * (leading + self.axis)
        merged[(*along, ~self._is_new)] = old
        merged[(*along, self._is_new)] = new
        return merged


def hierarchy_levels(shape: tuple[int, ...]) -> list[Step]:
    """The steps from the coarsest level to the full grid: one per axis, x first, then always the widest stride."""
    steps = []
    strides = [2 * _base(n) for n in shape]
    order = [(axis, True) for axis in reversed(range(len(shape)))]
    for axis, whole in _then_widest(order, strides):
        before = _lattice(shape, strides)
        strides[axis] //= 2
        after = _lattice(shape, strides)
        if len(after[axis]) > len(before[axis]):
            steps.append(Step(axis, before, after, tuple(strides), whole))
    return steps


def point_levels(shape: tuple[int, ...]) -> np.ndarray:
    """The level at which each point is new, (size,) int64 by flat index: 0 is the coarsest, step k leads to level k."""
    found = np.zeros(shape, dtype=np.int64)
    for number, step in enumerate(hierarchy_levels(shape), start=1):
        found[np.ix_(*step.points)] = number
    return found.reshape(-1)


def coarsest(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The lattice of the coarsest level, as indices per axis."""
    return _lattice(shape, [2 * _base(n) for n in shape])


def usable(values: np.ndarray, known: np.ndarray, *, log: bool) -> np.ndarray:
    """Values to interpolate, NaN where unknown or not finite; with `log` their logarithms, NaN where not positive."""
    good = known & np.isfinite(values) & ((values > 0) | (not log))
    safe = np.where(good, values, 1.0)
    return np.where(good, np.log(safe) if log else safe, np.nan)


def interpolate(values: np.ndarray, known: np.ndarray, *, log: bool) -> np.ndarray:
    """Fill a grid from some of its points.

    Args:
        values: of any shape with one to three axes, float64.
        known: boolean, same shape: where `values` are results. Unusable results are kept but not interpolated from.
        log: interpolate logarithms, as the planner does with losses. Otherwise the result is clipped to the range of
            the known values, as an accuracy must be.

    Returns:
        Same shape: `values` at known points; elsewhere interpolated, or NaN where a neighbour that is needed is
        unknown, not finite or, with `log`, not positive.
    """
    measured = usable(values, known, log=log)
    filled = measured[np.ix_(*coarsest(values.shape))]
    for step in hierarchy_levels(values.shape):
        new = np.ix_(*step.points)
        filled = step.merge(filled, np.where(known[new], measured[new], step.predict(filled)))
    if log:
        filled = np.exp(filled)
    elif not np.isnan(measured).all():
        filled = np.clip(filled, np.nanmin(measured), np.nanmax(measured))
    result: np.ndarray = np.where(known, values, filled)
    return result


def between(values: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Interpolate along the last axis, from values (…, old) to points `new`, each between two old points.

    Returns:
        (…, new): cubic; linear where one of the outer two points is NaN; NaN where an inner one is.
    """
    right = np.searchsorted(old, new)
    first = np.clip(right - 2, 0, max(0, len(old) - 4))
    cubic = _lagrange(values, old, new, first, min(4, len(old)))
    linear = _lagrange(values, old, new, right - 1, 2)
    result: np.ndarray = np.where(np.isnan(cubic), linear, cubic)
    return result


def _lagrange(values: np.ndarray, old: np.ndarray, new: np.ndarray, first: Any, count: int) -> np.ndarray:
    """Interpolate along the last axis by the polynomials through old points first, …, first + count - 1."""
    at = [old[first + k].astype(np.float64) for k in range(count)]
    total = np.zeros((*values.shape[:-1], len(new)))
    for k in range(count):  # term by term, because the bits of a matrix product depend on the library
        weight = np.ones(len(new))
        for other in range(count):
            if other != k:
                weight *= (new - at[other]) / (at[k] - at[other])
        total += weight * values[..., first + k]
    return total


def _base(n: int) -> int:
    """The largest power of two that leaves `LEAST` intervals, at least 1."""
    return 1 << max(0, ((n - 1) // LEAST).bit_length() - 1)


def _lattice(shape: tuple[int, ...], strides: list[int]) -> tuple[np.ndarray, ...]:
    """Every stride-th index and the last one, so that nothing is extrapolated."""
    return tuple(np.unique(np.append(np.arange(0, n, s), n - 1)) for n, s in zip(shape, strides, strict=True))


def _then_widest(order: list[tuple[int, bool]], strides: list[int]) -> Iterator[tuple[int, bool]]:
    yield from order
    while max(strides, default=1) > 1:
        yield max(range(len(strides)), key=lambda axis: (strides[axis], axis)), False
