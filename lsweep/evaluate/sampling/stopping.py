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

# Importance sampling is used if a stratified subset would need more than this share of all examples. If it needs fewer,
# most examples were not evaluated at the neighbouring points either, and predictions save nothing. On the paper's
# network, 0.6 to 0.7 performed alike; 0.12 led to many useless first looks and needed more.
WORTH = 0.65
# Importance sampling is abandoned for a stratified subset if that is expected to need fewer examples, or if this share
# of all is not sufficient.
LARGEST = 0.8
CHEAP = 0.4  # maximum relative cost of an example in lower precision, which a stratified subset may use


@dataclass(frozen=True)
class ErrorBudget:
    """Required accuracy of a point.

    Attributes:
        kind: the precision to try first; FP32 or FP64 is the network's own.
        tolerance: relative error of the loss that lower precision may add.
        subset: required width of the interval of the loss; None uses all examples.
        scale: loss to assume for an example unlike all that were seen; see `Subset`.
        least: minimum number of examples of a subset.
        seed: seed of the order of the examples.
    """

    kind: Precision = Precision.FP32
    tolerance: float = 0.01
    subset: Tolerance | None = None
    scale: float = 0.0
    least: int = 100
    seed: int = 0

    @property
    def is_low(self) -> bool:
        """Whether lower precision is tried."""
        return self.kind not in (Precision.FP32, Precision.FP64)


@dataclass(frozen=True)
class SplitEstimate:
    """Result for a split at a point; means and standard errors are (metrics,)."""

    means: np.ndarray
    errors: np.ndarray
    kind: Precision
    examples: int


class ExampleValues:
    """Values of examples, (n, metrics) float64; each is evaluated when it is first requested.

    Args:
        evaluate: returns the values of examples (n,).
        order: (N,), the order of a design.
        metrics: number of metrics.

    Attributes:
        seen: (N,) boolean, whether an example was evaluated.
    """

    def __init__(self, evaluate: Callable[[np.ndarray], np.ndarray], order: np.ndarray, metrics: int) -> None:
        self._evaluate, self._order = evaluate, order
        self._values = np.empty((len(order), metrics))
        self.seen = np.zeros(len(order), dtype=bool)

    def at(self, examples: np.ndarray) -> np.ndarray:
        """Values of the given examples."""
        new = examples[~self.seen[examples]]
        if len(new):
            self._values[new] = self._evaluate(new)
            self.seen[new] = True
        result: np.ndarray = self._values[examples]
        return result

    def first(self, count: int) -> np.ndarray:
        """Values of the first examples in order."""
        return self.at(self._order[:count])


class StoppingRule:
    """Decides when the estimate of one split at a point is accurate enough.

    Args:
        names: names of the metrics; the loss is the first.
        order: order of the examples.
        accuracy: required accuracy.
        own: precision of exact values.
    """

    def __init__(self, names: tuple[str, ...], order: Design, accuracy: ErrorBudget, own: Precision) -> None:
        self.names, self.design, self._accuracy, self._own = names, order, accuracy, own
        self._subset = Subset(order, accuracy.subset, accuracy.scale) if accuracy.subset else None

    def samples(self, examples: int) -> tuple[int, ...]:
        """Sizes of the samples that correct this many values in lower precision."""
        return control_variate.samples(examples, self.design.looks[0])

    def by_prediction(
        self, prediction: Prediction, numbers: np.ndarray, exact: ExampleValues
    ) -> SplitEstimate | None:
        """Estimate by importance sampling with predicted losses, from few exact values; None if that is not efficient
        here."""
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
        """Estimate from exact values alone."""
        stop = self._stop(exact)
        found = self._estimates(exact.first(stop.examples), stop)
        return self._found(found, np.zeros(len(found)), np.zeros(len(found)), self._own, stop.examples)

    def in_low_precision(self, cheap: ExampleValues, exact: ExampleValues) -> SplitEstimate | None:
        """Estimate from values in lower precision and a sample of exact ones; None if that is not accurate enough."""
        tolerance = self._accuracy.tolerance
        early = None
        if self._subset is None:
            least = self.samples(len(self.design))[0]
            early = control_variate.early(cheap.first, exact.first, self.design, tolerance)
        else:
            least = self.design.looks[0]
            if self._subset.following(0, exact.first(least)[:, 0]) < 2 * least:
                return None  # hardly more than the existing sample
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
