"""An evaluator of a made-up population of examples, without a network: as few of them as their neighbours allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from lsweep.evaluate.interface import Evaluation, Evaluator
from lsweep.evaluate.sampling.design import Tolerance, design
from lsweep.evaluate.sampling.example_losses import MeasuredLosses, Neighbours
from lsweep.evaluate.sampling.stopping import ErrorBudget, ExampleValues, StoppingRule
from lsweep.grid import Grid
from lsweep.surface import Column, Precision

COUNT = 1500
ACCURACY = ErrorBudget(subset=Tolerance(0.03), scale=float(np.log(10)))


class Sampled(Evaluator):
    """A bowl off the centre: at its bottom a few of the examples make the loss, on its rim nearly all do.

    Attributes:
        evaluated: point → how many times.
    """

    names = ("loss", "loss_stderr")
    columns: Mapping[str, Column] = MappingProxyType({"examples": ("<i4", 0)})

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        rng = np.random.default_rng(5)
        self._margins, self._speeds = rng.normal(6, 3, COUNT), rng.lognormal(2, 0.4, COUNT)
        self._design = design(np.arange(COUNT) % 10)
        self.neighbours = Neighbours(grid, {"train": self._design.strata})
        self.evaluated: Counter[int] = Counter()

    def losses(self, at: np.ndarray) -> np.ndarray:
        """(N,) at a point (x, y)."""
        off = np.hypot(at[0] - 0.1, at[1])
        return np.logaddexp(0.0, self._speeds * off - self._margins)

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """See `Evaluator`."""
        rows, examples = [], []
        for at in coordinates:
            losses, point = self.losses(at), self.neighbours.point(at)
            self.evaluated[point] += 1
            rule = StoppingRule(("loss",), self._design, ACCURACY, Precision.FP32)
            known = ExampleValues(
                lambda some, losses=losses: losses[some, None], self._design.strata.order, 1
            )
            prediction, found = self.neighbours.predict("train", point), None
            if prediction is not None:
                found = rule.by_prediction(prediction, self.neighbours.numbers("train", point), known)
            found = found or rule.in_full(known)
            seen = np.flatnonzero(known.seen)
            self.neighbours.record(
                point, "train", MeasuredLosses(seen.astype(np.int32), losses[seen].astype(np.float32))
            )
            rows.append((found.means[0], found.errors[0]))
            examples.append(len(seen))
        columns = {"examples": np.array(examples, dtype=np.int32)}
        return Evaluation(np.array(rows), np.full(len(rows), 0.001), columns)
