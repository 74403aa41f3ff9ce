"""Adaptive refinement: a coarse grid first, then points where interpolation and evaluation disagree.

Every step of the ladder (`lsweep.grid.hierarchy`) has new points and their predictions. Where the points of the last
steps were predicted well, the new ones will be still better, and take their predictions; elsewhere they are
evaluated, and each that surprises has its neighbours evaluated too, until the surprises are fenced in.
That is Harten's multiresolution criterion (Comm. Pure Appl. Math. 48, 1995) with a guard of one point.
python-adaptive's learners choose one point at a time from a queue, by a triangulation of all that has come in:
what they choose depends on who answered first. Here a point's fate follows from the values of coarser steps
alone, so any number of ranks, interrupted at any time, evaluate the same points.
"""

from __future__ import annotations

import numpy as np

from lsweep.grid import Grid
from lsweep.grid.hierarchy import Step, coarsest, hierarchy_levels, usable

# How much smaller the errors of a step are taken to be than those around it a halving before. A cubic's fall by 16
# where the loss is smooth; on the paper's networks the median fell by 4 with shortcuts and by 2.7 without. Tried from
# 1/8 to 1/2 on both, at tolerances of 1 to 10 %: from 1/5 up, 95 % of the errors stay below 1.4 tolerances. 1/5
# evaluates 6 % fewer points of the network with shortcuts; but of what it settles within the chaos of the other, at a
# tolerance of 2 % and from losses that are themselves known to 2 % only, 95 % were off by up to 4.6 %.
DECAY = 1 / 4
CORE = 2  # points to each side of the origin, at every step, that are evaluated: a trained network's sharp minimum


def is_judged(name: str) -> bool:
    """Whether a metric decides where to look: the losses of all splits."""
    head, *rest = name.split("_")
    return head == "loss" and "stderr" not in rest


def plan(grid: Grid, values: np.ndarray, evaluated: np.ndarray) -> np.ndarray:
    """Which points to evaluate, as far as this can be told from those that are.

    Args:
        grid: with `refine` set.
        values: (losses, size) float64: what is judged, flat; NaN where not evaluated or failed.
        evaluated: (size,) boolean: nothing more is to be learned there.

    Returns:
        (size,) boolean. Some are not evaluated yet: evaluate these, and ask again. All are: the sweep is
        complete, and points outside of the plan are settled, each interpolated within the tolerance as far
        as its neighbours can tell.
    """
    shape = grid.shape
    return _Planner(grid, values.reshape(-1, *shape), evaluated.reshape(shape)).plan().reshape(-1)


def coarse(shape: tuple[int, ...]) -> np.ndarray:
    """Boolean, of that shape: the points that are evaluated whatever the losses are."""
    whole = np.zeros(shape, dtype=bool)
    for lattice in (coarsest(shape), *(step.after for step in hierarchy_levels(shape) if step.whole)):
        whole[np.ix_(*lattice)] = True
    return whole


class _Planner:
    """One climb of the ladder. Arrays are over the lattice reached, with a leading axis for several losses."""

    def __init__(self, grid: Grid, values: np.ndarray, evaluated: np.ndarray) -> None:
        assert grid.refine is not None
        self._evaluated = evaluated
        self._values = usable(values, evaluated, log=True)
        self._tolerance = np.log1p(grid.refine.tolerance)
        self._levels = np.log(grid.refine.levels)
        self._origin = _origin(grid)
        self._asked = np.zeros(grid.shape, dtype=bool)
        self._taken: list[int] = []  # axes
        # Per axis: the larger surprise of its last step to either side.
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
        """Take a step; False where points must be evaluated first."""
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
        """How far off the predictions are taken to be: from the last step along this axis, and other recent ones.

        An axis whose steps are long past, since it is short, says nothing of the others.
        """
        axes = {step.axis, *self._taken[-len(step.after) :]} & set(self._reach)
        sides = [np.maximum(*step.sides(self._reach[axis])) for axis in sorted(axes)]
        return DECAY * np.maximum.reduce([np.zeros(tuple(map(len, step.points))), *sides])

    def _carry(self, step: Step, surprise: np.ndarray) -> None:
        """Take what is known of the neighbourhoods to the lattice after the step."""
        for axis, reach in self._reach.items():
            self._reach[axis] = step.merge(reach, np.maximum(*step.sides(reach)))
        self._taken.append(step.axis)
        nothing = np.zeros(tuple(map(len, step.before)))
        self._reach[step.axis] = _along(step.merge(nothing, surprise), step.axis)

    def _limit(self, step: Step, forecast: np.ndarray) -> np.ndarray | float:
        """The error that is tolerated: near a contour line, at most what displaces it by half a cell."""
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
        """The new points around the origin, boolean."""
        near = np.array(self._origin is not None)
        for axis, points in enumerate(step.points):
            middle = self._origin[axis] if self._origin is not None else 0
            near = near[..., None] & (np.abs(points - middle) <= CORE * step.strides[axis])
        return near


def _origin(grid: Grid) -> tuple[int, ...] | None:
    """The index of the point nearest to the origin; None where the grid does not hold it."""
    if not all(axis.min <= 0.0 <= axis.max for axis in grid.axes):
        return None
    return tuple(int(np.abs(axis.values).argmin()) for axis in reversed(grid.axes))


def _surprise(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """How far off the worst loss was; infinite where there is no number to compare."""
    return np.nan_to_num(np.abs(predicted - measured), nan=np.inf, posinf=np.inf).max(axis=0)


def _around(array: np.ndarray) -> np.ndarray:
    """The maximum over each point and its neighbours, diagonal ones too."""
    for axis in range(array.ndim):
        array = _along(array, axis)
    return array


def _along(array: np.ndarray, axis: int) -> np.ndarray:
    """The maximum over each point and its two neighbours along an axis."""
    ends = array.take([0], axis), array, array.take([-1], axis)
    padded, n = np.concatenate(ends, axis), array.shape[axis]
    result: np.ndarray = np.maximum.reduce([padded.take(range(k, k + n), axis) for k in range(3)])
    return result
