"""Sampling design: stratified subsets, sized to give a confidence interval of a given width.

All points use the examples in the same order, stratified by class, in growing prefixes. So differences between points
are paired, and variation between classes (most of the variance far from the minimum) adds none to the estimate.

A look is an interim analysis of a prefix. The first plans the size of the next (`intervals.required`), and each has its
share of α for its confidence interval. The first interval that is narrow enough ends the point; all examples give the
exact mean.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lsweep.errors import ConfigError, DataError
from lsweep.evaluate.sampling import intervals
from lsweep.evaluate.sampling.intervals import Estimate, Significance
from lsweep.evaluate.sampling.strata import Strata, stratify

PER_CLASS = (
    5  # per class at the first look, on average; fewer would not show how skewed the losses of a class are
)
LAST_LOOK = 0.9  # a look at a larger share of all examples would save little
MARGIN = 1.1  # safety factor on a planned size: a look that is too small costs more than this tenth


@dataclass(frozen=True, eq=False)
class Design:
    """The order in which all points use the examples, and the sizes at which they may stop.

    Attributes:
        strata: the order of the N examples, and their strata.
        looks: growing prefix sizes at which a point may stop; the last one is N.
    """

    strata: Strata
    looks: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.strata.order)

    def sha256(self) -> str:
        """The SHA-256 hash of order and strata."""
        parts = (self.strata.order, self.strata.of)
        return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()


def design(
    labels: np.ndarray, *, seed: int = 0, least: int = 100, growth: float = 1.05, multiple: int = 1
) -> Design:
    """Choose one order of the examples for a whole sweep; every look has the strata in proportion, at least two of
    each.

    The first look has five examples per class, or `least` if that is more. If five per class are more than a quarter of
    all examples, it has `least`, and classes that are too rare are merged (`strata`).

    Args:
        labels: (N,), integer classes; any other labels, such as floats or (N, …), form one stratum.
        seed: seed of the order.
        least: minimum number of examples.
        growth: minimum factor from one size to the next, above 1.01.
        multiple: looks are rounded up to multiples of this, for example of the batch size.

    Raises:
        ConfigError: an argument is out of range.
        DataError: there are no examples.
    """
    for name, value, low in (("least", least, 20), ("growth", growth, 1.01), ("multiple", multiple, 1)):
        if not low <= value < math.inf:
            raise ConfigError(f"{name} must be >= {low} and finite, got {value}", key=name)
    if len(labels) == 0:
        raise DataError("a subset needs at least one example")
    if labels.ndim > 1 or labels.dtype.kind not in "iu":
        labels = np.zeros(len(labels), dtype=np.int64)
    classes = len(np.unique(labels))
    first = max(least, PER_CLASS * classes) if PER_CLASS * classes <= len(labels) / 4 else least
    return Design(stratify(labels, first, seed), _looks(len(labels), first, growth, multiple))


@dataclass(frozen=True)
class Tolerance:
    """Required half-width of an interval: relative_error · |mean| or absolute_error, whichever is larger.

    Raises:
        ConfigError: a value is out of range, or both are 0.
    """

    relative_error: float = 0.0
    absolute_error: float = 0.0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("relative_error", "absolute_error"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be >= 0 and finite, got {getattr(self, name)}", key=name)
        if self.relative_error == self.absolute_error == 0:
            raise ConfigError("relative_error or absolute_error must be > 0", key="relative_error")
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence must be >= 0.5 and < 1, got {self.confidence}", key="confidence")


@dataclass(frozen=True)
class StoppingPoint:
    """The number of examples at which a point stops.

    Attributes:
        examples: size of the prefix of the design's order.
        level: significance level of the look; None for all examples.
    """

    examples: int
    level: Significance | None


@dataclass(frozen=True, eq=False)
class Subset:
    """The stopping rule for stratified subsets.

    Attributes:
        design: the order of the examples.
        tolerance: required width of the interval of the loss.
        scale: loss to assume for an example unlike all that were seen: that of a guess (ln C for cross entropy of C
            classes); 0 if unknown.
    """

    design: Design
    tolerance: Tolerance
    scale: float = 0.0

    def search(self, losses: Callable[[int], np.ndarray]) -> StoppingPoint:
        """Evaluate examples at one point until its loss is accurate enough.

        Args:
            losses: returns the losses (n,) of the first n examples in the design's order; n grows from call to call.
        """
        examples = self.design.looks[0]
        for look, level in enumerate(self._levels):
            if examples == len(self.design):
                break
            following = self.following(look, losses(examples))
            if following == examples:
                return StoppingPoint(examples, level)
            examples = following
        return StoppingPoint(len(self.design), None)

    def following(self, look: int, values: np.ndarray) -> int:
        """The size of the look after this one; that of this one if it is sufficient.

        Args:
            look: number of this look, from 0.
            values: (n,), its losses in the design's order.
        """
        found = self.loss(values, self._levels[look])
        # A mean that is not finite stays so with any further examples.
        if not math.isfinite(found.mean) or found.half_width <= self._wanted(found):
            return len(values)
        if look + 1 == len(self._levels):
            return len(self.design)
        level, wanted = self._levels[look + 1], self._wanted(found)
        needed = MARGIN * intervals.required(*self._sample(values), level, wanted, self.scale)
        return next((n for n in self.design.looks if n > len(values) and n >= needed), len(self.design))

    def expected(self, losses: np.ndarray) -> int:
        """Approximate number of examples for a point with these losses (N,), in the data's order, all > 0."""
        first = self.design.looks[0]
        if first == len(self.design):
            return first
        wanted = max(self.tolerance.relative_error * float(losses.mean()), self.tolerance.absolute_error)
        sample = self._sample(losses[self.design.strata.order[:first]])
        return intervals.required(*sample, self._levels[1], wanted, self.scale)

    def loss(self, values: np.ndarray, level: Significance | None) -> Estimate:
        """Estimate the mean loss from the losses (n,) of a prefix in the design's order; no level for all examples."""
        return intervals.mean(*self._sample(values), level, scale=self.scale)

    def mean(self, values: np.ndarray, level: Significance | None) -> Estimate:
        """Like `loss`, for a quantity without a scale, for example the difference between the losses of two points."""
        return intervals.mean(*self._sample(values), level)

    def fraction(self, values: np.ndarray, level: Significance | None) -> Estimate:
        """Like `loss`, for values in [0, 1]."""
        return intervals.fraction(*self._sample(values), level)

    def _wanted(self, loss: Estimate) -> float:
        return max(self.tolerance.relative_error * abs(loss.mean), self.tolerance.absolute_error)

    @property
    def _levels(self) -> tuple[Significance, ...]:
        return intervals.spend_alpha(1 - self.tolerance.confidence)

    def _sample(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return values, self.design.strata.of[: len(values)], self.design.strata.sizes


def _looks(count: int, first: int, growth: float, multiple: int) -> tuple[int, ...]:
    def rounded(size: float) -> int:
        return math.ceil(size / multiple) * multiple

    looks = [rounded(first)]
    while (size := rounded(looks[-1] * growth)) <= LAST_LOOK * count:
        looks.append(size)
    return (*looks, count) if looks[0] <= LAST_LOOK * count else (count,)
