"""Adaptive refinement: a coarse grid first, then points where interpolation and evaluation disagree.

Each level of the hierarchy (`lsweep.grid.hierarchy`) has new points and their predictions. Where the points of the
previous levels were predicted well, the new ones will be predicted even better, and take their predictions. Elsewhere
they are evaluated, and the neighbours of every badly predicted point too, until all neighbours are predicted well.
This is Harten's multiresolution criterion (Comm. Pure Appl. Math. 48, 1995) with a guard of one point.
python-adaptive's learners choose one point at a time from a queue, by a triangulation of all results so far, so their
choice depends on the order in which results arrive. Here the choice depends only on the values at coarser levels, so
any number of ranks, interrupted at any time, evaluate the same points.
"""

from __future__ import annotations

import numpy as np

from lsweep.grid import Grid
from lsweep.grid.hierarchy import Step, coarsest, hierarchy_levels, usable

# The assumed ratio of the errors of a step to those nearby one halving earlier. The errors of a cubic fall by a factor
# of 16 where the loss is smooth; on the paper's networks the median fell by 4 with shortcuts and by 2.7 without.
# Values from 1/8 to 1/2 were tried on both, at tolerances of 1 to 10 %: from 1/5 up, 95 % of the errors stay below 1.4
# tolerances. 1/5 evaluates 6 % fewer points of the network with shortcuts. But of the points that it settles in the
# chaotic region of the other network, at a tolerance of 2 % and from losses that are themselves known to 2 % only,
# 95 % had errors of up to 4.6 %.
DECAY = 1 / 4
CORE = 2  # points on each side of the origin that are evaluated at every level: a trained network's minimum is sharp


def is_judged(name: str) -> bool:
    """Whether a metric decides which points are evaluated: true for the losses of all splits."""
    head, *rest = name.split("_")
    return head == "loss" and "stderr" not in rest


def plan(grid: Grid, values: np.ndarray, evaluated: np.ndarray) -> np.ndarray:
    """Choose the points to evaluate, from the results so far.

    Args:
        grid: with `refine` set.
        values: (losses, size) float64, the losses, flat; NaN where not evaluated or failed.
        evaluated: (size,) boolean, the points that have been evaluated, failed ones included.

    Returns:
        (size,) boolean, the points to evaluate. If some of them are not evaluated yet, evaluate these and call `plan`
        again. If all are, the sweep is complete and the other points are settled: judged by its neighbours, each is
        interpolated within the tolerance.
    """
    shape = grid.shape
    return _Planner(grid, values.reshape(-1, *shape), evaluated.reshape(shape)).plan().reshape(-1)


def coarse(shape: tuple[int, ...]) -> np.ndarray:
    """Boolean mask of that shape: the coarse lattice, whose points are always evaluated."""
    whole = np.zeros(shape, dtype=bool)
    for lattice in (coarsest(shape), *(step.after for step in hierarchy_levels(shape) if step.whole)):
        whole[np.ix_(*lattice)] = True
    return whole


class _Planner:
    """One pass through the levels. Arrays are over the lattice of the current level; losses have a leading axis."""

    def __init__(self, grid: Grid, values: np.ndarray, evaluated: np.ndarray) -> None:
        assert grid.refine is not None
        self._evaluated = evaluated
        self._values = usable(values, evaluated, log=True)
        self._tolerance = np.log1p(grid.refine.tolerance)
        self._levels = np.log(grid.refine.levels)
        self._origin = _origin(grid)
        self._asked = np.zeros(grid.shape, dtype=bool)
        self._taken: list[int] = []  # axes
        # Per axis: the prediction errors at its last step, each the maximum with its two neighbours.
        self._reach: dict[int, np.ndarray] = {}

    def plan(self) -> np.ndarray:
        self._asked |= coarse(self._asked.shape)
        if not self._evaluated[self._asked].all():
            return self._asked
        self._filled = self._losses_at(coarsest(self._asked.shape))
        for step in hierarchy_levels(self._asked.shape):
            if not self._climb(step):
                break
        return self._asked

    def _climb(self, step: Step) -> bool:
        """Go to the next level; False if points must be evaluated first."""
        new = np.ix_(*step.points)
        predicted, measured = step.predict(self._filled), self._losses_at(step.points)
        surprise = _surprise(predicted, measured)
        forecast = self._forecast(step)
        limit = self._limit(step, forecast)
        picked = np.full(forecast.shape, step.whole) | (forecast > limit) | self._core(step)
        picked |= np.isnan(predicted).any(axis=0)
        while True:
            self._asked[new] |= picked
            if not self._evaluated[new][picked].all():
                return False
            more = _around(picked & (surprise > limit)) & ~picked
            if not more.any():
                break
            picked |= more
        self._filled = step.merge(self._filled, np.where(self._evaluated[new], measured, predicted))
        self._carry(step, np.where(picked, surprise, forecast))
        return True

    def _losses_at(self, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        return self._values[np.ix_(np.arange(len(self._values)), *indices)]

    def _forecast(self, step: Step) -> np.ndarray:
        """The expected errors of the predictions, from the last step along this axis and other recent steps.

        The last step of a short axis may be many levels ago; it is not used for the other axes.
        """
        axes = {step.axis, *self._taken[-len(step.after) :]} & set(self._reach)
        sides = [np.maximum(*step.sides(self._reach[axis])) for axis in sorted(axes)]
        return DECAY * np.maximum.reduce([np.zeros(tuple(map(len, step.points))), *sides])

    def _carry(self, step: Step, surprise: np.ndarray) -> None:
        """Transfer the errors in each neighbourhood to the lattice after the step."""
        for axis, reach in self._reach.items():
            self._reach[axis] = step.merge(reach, np.maximum(*step.sides(reach)))
        self._taken.append(step.axis)
        nothing = np.zeros(tuple(map(len, step.before)))
        self._reach[step.axis] = _along(step.merge(nothing, surprise), step.axis)

    def _limit(self, step: Step, forecast: np.ndarray) -> np.ndarray | float:
        """The tolerated error; near a contour line at most the error that displaces it by half a cell."""
        if not len(self._levels):
            return float(self._tolerance)
        losses = self._filled[0]
        high = np.maximum(*step.sides(_around(np.where(np.isnan(losses), -np.inf, losses))))
        low = -np.maximum(*step.sides(_around(np.where(np.isnan(losses), -np.inf, -losses))))
        margin = np.minimum(forecast, self._tolerance)
        crossed = np.zeros(high.shape, dtype=bool)
        for level in self._levels:
            crossed |= (low - margin <= level) & (level <= high + margin)
        half_a_cell = (high - low) / (4 * max(step.strides))
        return np.where(crossed, np.minimum(self._tolerance, half_a_cell), self._tolerance)

    def _core(self, step: Step) -> np.ndarray:
        """Boolean mask of the new points around the origin."""
        near = np.array(self._origin is not None)
        for axis, points in enumerate(step.points):
            middle = self._origin[axis] if self._origin is not None else 0
            near = near[..., None] & (np.abs(points - middle) <= CORE * step.strides[axis])
        return near


def _origin(grid: Grid) -> tuple[int, ...] | None:
    """The index of the point nearest to the origin; None if the grid does not contain the origin."""
    if not all(axis.min <= 0.0 <= axis.max for axis in grid.axes):
        return None
    return tuple(int(np.abs(axis.values).argmin()) for axis in reversed(grid.axes))


def _surprise(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The largest prediction error over the losses; infinite where there is nothing to compare."""
    return np.nan_to_num(np.abs(predicted - measured), nan=np.inf, posinf=np.inf).max(axis=0)


def _around(array: np.ndarray) -> np.ndarray:
    """The maximum over each point and its neighbours, diagonal ones included."""
    for axis in range(array.ndim):
        array = _along(array, axis)
    return array


def _along(array: np.ndarray, axis: int) -> np.ndarray:
    """The maximum over each point and its two neighbours along an axis."""
    ends = array.take([0], axis), array, array.take([-1], axis)
    padded, n = np.concatenate(ends, axis), array.shape[axis]
    result: np.ndarray = np.maximum.reduce([padded.take(range(k, k + n), axis) for k in range(3)])
    return result
