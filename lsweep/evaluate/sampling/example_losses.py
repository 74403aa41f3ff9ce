"""Per-example losses over the grid: measured where examples were sampled, interpolated elsewhere.

The logarithm of each example's loss is interpolated on the same hierarchy of grids as the surface
(`lsweep.grid.hierarchy`): a point is predicted from points of coarser grids, which were themselves measured or
predicted. So a prediction depends only on coarser grids, and not on the order of evaluation or the rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsweep.evaluate.sampling import importance
from lsweep.evaluate.sampling.importance import Prediction
from lsweep.evaluate.sampling.strata import Strata
from lsweep.grid import Grid
from lsweep.grid.hierarchy import between, hierarchy_levels, point_levels

# Losses below this share of their point's mean are raised to it: logarithms of rounding errors would mislead.
NEGLIGIBLE = 1e-6
TINY = 1e-30
# Maximum ratio of an interpolated loss to the larger of its two neighbours: a cubic may overshoot.
OVERSHOOT = np.log(2.0)


@dataclass(frozen=True, eq=False)
class MeasuredLosses:
    """Losses that were evaluated at a point.

    Attributes:
        examples: (n,) int32, the indices of the examples.
        losses: (n,) float32.
    """

    examples: np.ndarray
    losses: np.ndarray


class ExampleField:
    """Losses of N examples over a grid: a row of logarithms for every point from which others are predicted.

    A row is computed when it is first needed, from what has been learned by then.

    Args:
        shape: shape of the grid.
        strata: strata of the examples; if a point cannot be predicted, examples that were not measured are assumed to
            be like the others of their stratum.
    """

    def __init__(self, shape: tuple[int, ...], strata: Strata) -> None:
        self._shape, self._steps = shape, hierarchy_levels(shape)
        self._level = point_levels(shape)
        self._stratum = np.empty(len(strata.order), dtype=np.int64)
        self._stratum[strata.order] = strata.of
        self._measured: dict[int, MeasuredLosses] = {}
        self._rows: dict[int, np.ndarray | None] = {}

    def learn(self, point: int, measured: MeasuredLosses) -> None:
        """Add the losses measured at a point, given by its flat index.

        Raises:
            ValueError: other points have already been predicted from this one, and would now be predicted differently.
        """
        if point in self._rows:
            raise ValueError(f"other points have already been predicted from point {point}")
        if self._level[point] < len(self._steps):  # no others are predicted from points of the finest grid
            self._measured[point] = measured

    def predict(self, point: int) -> Prediction | None:
        """Predict the losses at a point; None if its neighbours are unknown."""
        if self._level[point] == 0:
            return None
        step = self._steps[self._level[point] - 1]
        place = [int(index) for index in np.unravel_index(point, self._shape)]
        window, inner = _window(step.before[step.axis], place[step.axis])
        rows = [self._row(_flat(place, step.axis, at, self._shape)) for at in window]
        nothing = np.full(len(self._stratum), np.nan, dtype=np.float32)
        logs = np.stack([nothing if row is None else row for row in rows], axis=1).astype(np.float64)
        high = logs[:, inner].max(axis=1)
        if not np.isfinite(high).all():
            return None
        expected = between(logs, window, np.array([place[step.axis]]))[:, 0]
        return Prediction(np.exp(np.clip(expected, np.log(TINY), high + OVERSHOOT)), np.exp(high))

    def _row(self, point: int) -> np.ndarray | None:
        if point not in self._rows:
            self._rows[point] = self._made(point)
        return self._rows[point]

    def _made(self, point: int) -> np.ndarray | None:
        """A row (N,) float32; None if nothing is known or a loss is NaN."""
        measured, predicted = self._measured.pop(point, None), self.predict(point)
        if measured is None or not np.isfinite(measured.losses).all() or len(measured.losses) == 0:
            return None if predicted is None or measured is not None else _log(predicted.losses, 0.0)
        known = _log(measured.losses, NEGLIGIBLE * float(measured.losses.mean(dtype=np.float64)))
        row = _log(predicted.losses, 0.0) if predicted else self._like_their_stratum(measured.examples, known)
        row[measured.examples] = known
        return row

    def _like_their_stratum(self, examples: np.ndarray, known: np.ndarray) -> np.ndarray:
        strata = self._stratum[examples]
        sums = np.bincount(strata, known, minlength=self._stratum.max() + 1)
        counts = np.bincount(strata, minlength=len(sums))
        means = np.where(counts > 0, sums / np.maximum(counts, 1), known.mean(dtype=np.float64))
        return means[self._stratum].astype(np.float32)


def most_bytes(shape: tuple[int, ...], examples: int) -> int:
    """Maximum memory of the rows of a field, in bytes."""
    steps = hierarchy_levels(shape)
    points = int(np.prod([len(axis) for axis in steps[-1].before])) if steps else 0
    return 4 * points * examples


def _log(losses: np.ndarray, least: float) -> np.ndarray:
    result: np.ndarray = np.log(np.maximum(losses, max(least, TINY)).astype(np.float64)).astype(np.float32)
    return result


def _window(old: np.ndarray, new: int) -> tuple[np.ndarray, slice]:
    """The (up to four) coarser points from which a point is interpolated, and the positions of the nearest two."""
    right = int(np.searchsorted(old, new))
    first = int(np.clip(right - 2, 0, max(0, len(old) - 4)))
    return old[first : first + 4], slice(right - 1 - first, right + 1 - first)


def _flat(place: Sequence[int], axis: int, at: int, shape: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index([*place[:axis], at, *place[axis + 1 :]], shape))


MOST_BYTES = 512 * 2**20  # of a rank's memory


class Neighbours:
    """One rank's copy of the known per-example losses over a grid.

    An evaluator requests predictions and records what it measured; all ranks exchange the records between two rounds.

    Args:
        grid: the refined grid.
        strata: split → strata of its examples.
        seed: seed of the points' random numbers.

    Attributes:
        steps: (size,), by flat index, the step in which a point is evaluated: measurements of one step may be used in
            the next.
        useful: (size,) boolean, points from which others are predicted.
        examples: split → number of examples.
        idle: if true, nothing is predicted or recorded.
    """

    def __init__(self, grid: Grid, strata: Mapping[str, Strata], seed: int = 0) -> None:
        self.steps = point_levels(grid.shape)
        self.useful = self.steps < self.steps.max()
        self.idle = False
        self._axes, self._shape, self._seed = grid.axes, grid.shape, seed
        self.examples = {split: len(made.order) for split, made in strata.items()}
        self._fields = {split: ExampleField(grid.shape, made) for split, made in strata.items()}
        self._noted: dict[int, dict[str, MeasuredLosses]] = {}

    def point(self, coordinates: np.ndarray) -> int:
        """The flat index of the grid point with these coordinates, x first."""
        place = [
            int(np.abs(axis.values - at).argmin()) for axis, at in zip(self._axes, coordinates, strict=True)
        ]
        return int(np.ravel_multi_index(place[::-1], self._shape))

    def predict(self, split: str, point: int) -> Prediction | None:
        """Predict the losses of a split's examples at a point; None if that is not possible."""
        return None if self.idle else self._fields[split].predict(point)

    def numbers(self, split: str, point: int) -> np.ndarray:
        """The random numbers of a point, (N,), independent of those of other points."""
        return importance.draw(self._seed, point, self.examples[split], list(self.examples).index(split))

    def record(self, point: int, split: str, measured: MeasuredLosses) -> None:
        """Record measured losses for the exchange between ranks."""
        if self.useful[point] and not self.idle:
            self._noted.setdefault(point, {})[split] = measured

    def take(self) -> dict[int, dict[str, MeasuredLosses]]:
        """Return and clear the records, by point and split."""
        noted, self._noted = self._noted, {}
        return noted

    def learn(self, point: int, measured: Mapping[str, MeasuredLosses]) -> None:
        """Add the losses measured at a point, by split.

        Raises:
            ValueError: other points have already been predicted from this one.
        """
        for split, losses in measured.items():
            self._fields[split].learn(point, losses)


def fits(grid: Grid, examples: Mapping[str, int]) -> bool:
    """Whether the rows of this many examples per split fit into a rank's memory."""
    return sum(most_bytes(grid.shape, count) for count in examples.values()) <= MOST_BYTES
