"""Statistics over repeats: which numbers separate the networks, and rank correlation with the test error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_STANDARDISED = 2.0  # pooled standard deviations between the means


@dataclass(frozen=True)
class Summary:
    """One number of one network over its directions; repeats where it is not defined are left out.

    Attributes:
        count: of the repeats.
        mean: NaN without any.
        deviation: the standard deviation, from count − 1; NaN for fewer than two.
        least, largest: the range.
    """

    count: int
    mean: float
    deviation: float
    least: float
    largest: float


@dataclass(frozen=True)
class Verdict:
    """Whether a number tells two networks apart.

    Attributes:
        difference: the second's mean minus the first's.
        standardised: that by √((s₁² + s₂²)/2); infinite where the repeats don't spread at all.
        separated: None with fewer than two repeats of either; else whether the ranges don't overlap and
            |standardised| is at least `LEAST_STANDARDISED`.
        chance: how probable it is that ranges of so many repeats don't overlap where the two don't differ.
    """

    difference: float
    standardised: float
    separated: bool | None
    chance: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean and spread of a number over repeats."""
    there = np.array([v for v in values if not math.isnan(v)], dtype=np.float64)
    if not there.size:
        return Summary(0, math.nan, math.nan, math.nan, math.nan)
    least, largest = float(there.min()), float(there.max())
    if there.size == 1:
        return Summary(1, least, math.nan, least, least)
    if least == largest:  # the rounding of a mean is no spread
        return Summary(there.size, least, 0.0, least, least)
    with np.errstate(invalid="ignore", over="ignore"):  # of an infinite number there is no spread
        return Summary(there.size, float(there.mean()), float(there.std(ddof=1)), least, largest)


def judge(a: Summary, b: Summary) -> Verdict:
    """Compare a number of two networks by its spread over directions."""
    difference = b.mean - a.mean
    if min(a.count, b.count) < 2:
        return Verdict(difference, math.nan, None, math.nan)
    spread = math.hypot(a.deviation, b.deviation) / math.sqrt(2)
    standardised = difference / spread if spread else math.copysign(math.inf, difference)
    if difference == 0:
        standardised = 0.0
    disjoint = a.largest < b.least or b.largest < a.least
    chance = 2 / math.comb(a.count + b.count, a.count)
    return Verdict(difference, standardised, disjoint and abs(standardised) >= LEAST_STANDARDISED, chance)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's ρ over the pairs in which neither is NaN; ties share their mean rank.

    Returns:
        In [−1, 1]; NaN for fewer than three pairs, or where all values of one side are the same.
    """
    pairs = np.array([(x, y) for x, y in zip(a, b, strict=True) if not math.isnan(x + y)])
    if len(pairs) < 3:
        return math.nan
    left, right = (_ranks(column) - (len(pairs) + 1) / 2 for column in pairs.T)
    size = math.sqrt(float((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / size if size else math.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    below = (values[:, None] > values[None, :]).sum(axis=1)
    same = (values[:, None] == values[None, :]).sum(axis=1)
    ranks: np.ndarray = below + (same + 1) / 2
    return ranks
