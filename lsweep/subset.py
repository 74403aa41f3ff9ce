"""Error-bounded subsets: as many examples at a point as its mean loss needs for an interval of a given width.

All points take the examples in one order, stratified by class, in growing prefixes: differences between points
are paired, and what the network owes to the classes alone (nearly all, far from the minimum) adds no variance.

At every look α is spent (`lsweep.spending`) on an interval (`lsweep.intervals`); the first that is narrow enough ends
the point, and all examples give the exact mean.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from lsweep import intervals, spending
from lsweep.errors import ConfigError, DataError
from lsweep.intervals import Estimate
from lsweep.spending import Level
from lsweep.strata import Strata, stratify

PER_CLASS = 5  # at the first look, on average: fewer would not show how skewed a class is
LAST_LOOK = 0.9  # a look at more than this share of all would save little, and spend α


@dataclass(frozen=True, eq=False)
class Design:
    """In which order all points take the examples, and where they may stop.

    Attributes:
        strata: the order of the N examples.
        looks: growing prefix sizes; the last one is N.
    """

    strata: Strata
    looks: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.strata.order)

    def sha256(self) -> str:
        """The hash of order and strata."""
        parts = (self.strata.order, self.strata.of)
        return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()


def design(
    labels: np.ndarray, *, seed: int = 0, least: int = 100, growth: float = 1.5, multiple: int = 1
) -> Design:
    """One order of the examples for a whole sweep; every look has the strata in proportion, at least two of each.

    The first look takes five per class, or `least` if that is more. Where five per class are more than a quarter of
    all, it takes `least`, and classes that are too rare for it are put together (`lsweep.strata`).

    Args:
        labels: (N,) integer classes; anything else, floats or (N, …) say, is one stratum.
        seed: of the order.
        least: the stated least number of examples.
        growth: from look to look, at least 1.1.
        multiple: looks are rounded up to multiples of it, of the batch size say.

    Raises:
        ConfigError: an argument out of range.
        DataError: no examples.
    """
    for name, value, low in (("least", least, 20), ("growth", growth, 1.1), ("multiple", multiple, 1)):
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
    """How narrow an interval has to be: half as wide as relative_error·|mean| or as absolute_error, the wider of both.

    Raises:
        ConfigError: a value out of range, or nothing to reach.
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


@dataclass(frozen=True, eq=False)
class Subset:
    """The rule by which the points of a sweep stop.

    Attributes:
        design: the order of the examples.
        tolerance: what the loss's interval must reach.
        scale: what an example may lose that is unlike all seen: the loss of a guess (ln C for cross entropy of C
            classes); 0 where nothing is known.
    """

    design: Design
    tolerance: Tolerance
    scale: float = 0.0

    @cached_property
    def levels(self) -> Mapping[int, Level]:
        """α and critical value of each look, by prefix size; there is none for all examples."""
        alpha = 1 - self.tolerance.confidence
        found = spending.levels(self.design.looks[:-1], len(self.design), alpha)
        return {level.examples: level for level in found}

    def loss(self, values: np.ndarray) -> Estimate:
        """Estimate the mean loss from the losses (n,) of a look's prefix, in the design's order."""
        return intervals.mean(*self._sample(values), scale=self.scale)

    def mean(self, values: np.ndarray) -> Estimate:
        """Like `loss`, of something that has no scale: a difference between two points' losses, say."""
        return intervals.mean(*self._sample(values))

    def fraction(self, values: np.ndarray) -> Estimate:
        """Like `loss`, of values in [0, 1]."""
        return intervals.fraction(*self._sample(values))

    def enough(self, loss: Estimate) -> bool:
        """Whether a point may stop. A mean that is not finite stays so whatever follows: no more is needed."""
        wanted = max(self.tolerance.relative_error * abs(loss.mean), self.tolerance.absolute_error)
        return not math.isfinite(loss.mean) or loss.half_width <= wanted

    def evaluate(self, measure: Callable[[np.ndarray], Mapping[str, np.ndarray]]) -> dict[str, Estimate]:
        """Take examples at one point until its loss is known well enough.

        Args:
            measure: indices (k,) of examples → name → their values (k,); "loss" decides, "accuracy" is a fraction.
        """
        seen: dict[str, np.ndarray] = {}
        for start, stop in pairwise((0, *self.design.looks)):
            for name, values in measure(self.design.strata.order[start:stop]).items():
                seen[name] = np.concatenate([seen.get(name, np.empty(0)), values])
            if self.enough(self.loss(seen["loss"])):
                break
        return {name: self._estimate(name, values) for name, values in seen.items()}

    def identity(self) -> dict[str, object]:
        """What makes two sweeps' subsets the same, in JSON types."""
        return {
            "order": self.design.sha256(),
            "looks": list(self.design.looks),
            "relative_error": self.tolerance.relative_error,
            "absolute_error": self.tolerance.absolute_error,
            "confidence": self.tolerance.confidence,
            "scale": self.scale,
        }

    def _estimate(self, name: str, values: np.ndarray) -> Estimate:
        return {"loss": self.loss, "accuracy": self.fraction}.get(name, self.mean)(values)

    def _sample(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, Level | None]:
        n = len(values)
        strata = self.design.strata
        return values, strata.of[:n], strata.sizes, self.levels.get(n)


def _looks(count: int, first: int, growth: float, multiple: int) -> tuple[int, ...]:
    def rounded(size: float) -> int:
        return math.ceil(size / multiple) * multiple

    looks = [rounded(first)]
    while looks[-1] <= LAST_LOOK * count:
        looks.append(rounded(looks[-1] * growth))
    return (*looks[:-1], count)
