"""Stopping rule: when the estimate of one split at a point is accurate enough, and its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lsweep.evaluate.sampling import control_variate
from lsweep.evaluate.sampling.design import Design, StoppingPoint, Subset, Tolerance
from lsweep.evaluate.sampling.importance import Importance, Prediction
from lsweep.evaluate.sampling.intervals import Estimate
from lsweep.surface import Precision

# Examples are drawn by their predicted losses where a stratified subset would take more than this share of all: where
# it takes fewer, most examples were not seen at the points around either, and predicting them saves nothing. On the
# paper's network 0.6 to 0.7 did alike, and 0.12, with many a first look in vain, took more.
WORTH = 0.65
# Given up for a stratified subset where that is expected to take fewer, or where this share of all is not enough.
LARGEST = 0.8
CHEAP = 0.4  # what an example costs at most in a lower precision, which a stratified subset may use


@dataclass(frozen=True)
class ErrorBudget:
    """How exactly a point must be known.

    Attributes:
        kind: the precision to try first; FP32 or FP64 is the borrowed network's own.
        tolerance: what the lower precision may add to the loss's error, relative.
        subset: how narrow the loss's interval must be; None takes all examples.
        scale: what an example may lose that is unlike all seen; see `Subset`.
        least: the fewest examples of a subset.
        seed: of the examples' order.
    """

    kind: Precision = Precision.FP32
    tolerance: float = 0.01
    subset: Tolerance | None = None
    scale: float = 0.0
    least: int = 100
    seed: int = 0

    @property
    def is_low(self) -> bool:
        """Whether a lower precision is tried."""
        return self.kind not in (Precision.FP32, Precision.FP64)


@dataclass(frozen=True)
class SplitEstimate:
    """What a split came to at a point; means and standard errors are (metrics,)."""

    means: np.ndarray
    errors: np.ndarray
    kind: Precision
    examples: int


class ExampleValues:
    """Values of examples, (n, metrics) float64, evaluated as they are asked for, and each once.

    Args:
        evaluate: examples (n,) → their values.
        order: (N,) of a design.
        metrics: how many.

    Attributes:
        seen: (N,) boolean, which examples were evaluated.
    """

    def __init__(self, evaluate: Callable[[np.ndarray], np.ndarray], order: np.ndarray, metrics: int) -> None:
        self._evaluate, self._order = evaluate, order
        self._values = np.empty((len(order), metrics))
        self.seen = np.zeros(len(order), dtype=bool)

    def at(self, examples: np.ndarray) -> np.ndarray:
        """Of any examples."""
        new = examples[~self.seen[examples]]
        if len(new):
            self._values[new] = self._evaluate(new)
            self.seen[new] = True
        result: np.ndarray = self._values[examples]
        return result

    def first(self, count: int) -> np.ndarray:
        """Of the first in order."""
        return self.at(self._order[:count])


class StoppingRule:
    """When a point of one split is known well enough.

    Args:
        names: of the metrics; the loss is the first.
        order: in which the examples are taken.
        accuracy: what is asked.
        own: the precision of exact values.
    """

    def __init__(self, names: tuple[str, ...], order: Design, accuracy: ErrorBudget, own: Precision) -> None:
        self.names, self.design, self._accuracy, self._own = names, order, accuracy, own
        self._subset = Subset(order, accuracy.subset, accuracy.scale) if accuracy.subset else None

    def samples(self, examples: int) -> tuple[int, ...]:
        """Sizes of the samples that correct so many cheap values."""
        return control_variate.samples(examples, self.design.looks[0])

    def by_prediction(
        self, prediction: Prediction, numbers: np.ndarray, exact: ExampleValues
    ) -> SplitEstimate | None:
        """From a few exact values of examples drawn by their predicted losses; None if that is no good here."""
        assert self._subset is not None
        expected = self._subset.expected(prediction.losses)
        if expected < WORTH * len(self.design):
            return None
        most = min(expected, LARGEST * len(self.design)) * (CHEAP if self._accuracy.is_low else 1)
        drawn = Importance(prediction, numbers, self._subset.tolerance)
        sample = drawn.search(lambda examples: exact.at(examples)[:, 0], most)
        if sample is None:
            return None
        loss, *others = exact.at(sample.examples).T
        found = drawn.loss(loss, sample)
        pairs = [(found.mean, found.standard_error), *(drawn.mean(other, sample) for other in others)]
        means, errors = np.array(pairs).T
        return SplitEstimate(self._possible(means), errors, self._own, len(sample.examples))

    def in_full(self, exact: ExampleValues) -> SplitEstimate:
        """From exact values alone."""
        stop = self._stop(exact)
        found = self._estimates(exact.first(stop.examples), stop)
        return self._found(found, np.zeros(len(found)), np.zeros(len(found)), self._own, stop.examples)

    def in_low_precision(self, cheap: ExampleValues, exact: ExampleValues) -> SplitEstimate | None:
        """From cheap values and a sample of exact ones; None if that is not good enough here."""
        tolerance = self._accuracy.tolerance
        early = None
        if self._subset is None:
            least = self.samples(len(self.design))[0]
            early = control_variate.early(cheap.first, exact.first, self.design, tolerance)
        else:
            least = self.design.looks[0]
            if self._subset.following(0, exact.first(least)[:, 0]) < 2 * least:
                return None  # hardly more than the sample, which is there
        if early is None and control_variate.hopeless(
            cheap.first(least), exact.first(least), self.design, tolerance
        ):
            return None
        stop = self._stop(cheap)
        found = self._estimates(cheap.first(stop.examples), stop)
        if not np.isfinite(found[0].mean):
            return None
        for size in (*([early] if early else []), *self.samples(stop.examples)):
            corrected = control_variate.correction(cheap.first(stop.examples), exact.first(size), self.design)
            mean = abs(found[0].mean + float(corrected.shifts[0]))
            margin = control_variate.MARGIN if size == early else 1.0
            if margin * corrected.half_width <= tolerance * mean:
                return self._found(
                    found, corrected.shifts, corrected.errors, self._accuracy.kind, stop.examples
                )
            if control_variate.hopeless(cheap.first(size), exact.first(size), self.design, tolerance):
                return None
        return None

    def _stop(self, known: ExampleValues) -> StoppingPoint:
        if self._subset is None:
            return StoppingPoint(len(self.design), None)
        return self._subset.search(lambda examples: known.first(examples)[:, 0])

    def _estimates(self, values: np.ndarray, stop: StoppingPoint) -> list[Estimate]:
        if self._subset is None:
            return [
                Estimate(mean := float(column.mean()), 0.0, mean, mean, len(column)) for column in values.T
            ]
        of = {"loss": self._subset.loss, "accuracy": self._subset.fraction}
        return [
            of.get(name, self._subset.mean)(column, stop.level)
            for name, column in zip(self.names, values.T, strict=True)
        ]

    def _found(
        self,
        estimates: list[Estimate],
        shifts: np.ndarray,
        errors: np.ndarray,
        kind: Precision,
        examples: int,
    ) -> SplitEstimate:
        means = np.array([estimate.mean for estimate in estimates]) + shifts
        both = np.hypot([estimate.standard_error for estimate in estimates], errors)
        return SplitEstimate(self._possible(means), both, kind, examples)

    def _possible(self, means: np.ndarray) -> np.ndarray:
        accurate = [name == "accuracy" for name in self.names]
        return np.where(accurate, means.clip(0.0, 1.0), means)
