"""What the points around a point say of its examples' losses, for all splits: see `lsweep.evaluate.sampling.example_field`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lsweep.evaluate.sampling import importance
from lsweep.evaluate.sampling.example_field import ExampleField, Measured, most_bytes
from lsweep.evaluate.sampling.importance import Prediction
from lsweep.evaluate.sampling.strata import Strata
from lsweep.grid import Grid
from lsweep.grid.hierarchy import rungs

MOST_BYTES = 512 * 2**20  # of a rank's memory


class Neighbours:
    """One rank's copy of what is known of the examples' losses over a grid.

    An evaluator asks it for predictions and records what it measured; all ranks learn that between two rounds.

    Args:
        grid: refined.
        strata: split → those of its examples.
        seed: of the points' random numbers.

    Attributes:
        steps: (size,) by flat index, when a point's turn comes: what is measured at points of one step may be used
            at those of the next.
        useful: (size,) boolean: points that predict others.
        examples: split → how many.
        idle: predict nothing, and take no notes.
    """

    def __init__(self, grid: Grid, strata: Mapping[str, Strata], seed: int = 0) -> None:
        self.steps = rungs(grid.shape)
        self.useful = self.steps < self.steps.max()
        self.idle = False
        self._axes, self._shape, self._seed = grid.axes, grid.shape, seed
        self.examples = {split: len(made.order) for split, made in strata.items()}
        self._fields = {split: ExampleField(grid.shape, made) for split, made in strata.items()}
        self._noted: dict[int, dict[str, Measured]] = {}

    def point(self, coordinates: np.ndarray) -> int:
        """The flat index of the grid's point with those coordinates, x first."""
        place = [
            int(np.abs(axis.values - at).argmin()) for axis, at in zip(self._axes, coordinates, strict=True)
        ]
        return int(np.ravel_multi_index(place[::-1], self._shape))

    def predict(self, split: str, point: int) -> Prediction | None:
        """What the losses of a split's examples may be at a point; None where that cannot be said."""
        return None if self.idle else self._fields[split].predict(point)

    def numbers(self, split: str, point: int) -> np.ndarray:
        """The point's own random numbers, (N,), of which none is used at another."""
        return importance.draw(self._seed, point, self.examples[split], list(self.examples).index(split))

    def record(self, point: int, split: str, measured: Measured) -> None:
        """Note what was measured, for all ranks to learn."""
        if self.useful[point] and not self.idle:
            self._noted.setdefault(point, {})[split] = measured

    def take(self) -> dict[int, dict[str, Measured]]:
        """What was noted since this was last asked, by point and split."""
        noted, self._noted = self._noted, {}
        return noted

    def learn(self, point: int, measured: Mapping[str, Measured]) -> None:
        """Take what was measured at a point, by split.

        Raises:
            ValueError: the point has predicted others already.
        """
        for split, losses in measured.items():
            self._fields[split].learn(point, losses)


def fits(grid: Grid, examples: Mapping[str, int]) -> bool:
    """Whether a rank's memory may be used for that many examples of each split."""
    return sum(most_bytes(grid.shape, count) for count in examples.values()) <= MOST_BYTES
