"""Statistics over repeats: which measures separate the networks, and rank correlation with the test error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_STANDARDISED = 2.0  # minimum difference of the means in pooled standard deviations


@dataclass(frozen=True)
class Summary:
    """One measure of one network over its directions; repeats for which it is not defined are left out.

    Attributes:
        count: number of repeats.
        mean: NaN if there are none.
        deviation: the standard deviation, with count − 1 degrees of freedom; NaN for fewer than two repeats.
        least, largest: the range.
    """

    count: int
    mean: float
    deviation: float
    least: float
    largest: float


@dataclass(frozen=True)
class Verdict:
    """Whether a measure distinguishes two networks.

    Attributes:
        difference: the second network's mean minus the first's.
        standardised: the difference divided by √((s₁² + s₂²)/2); infinite if the repeats have no spread.
        separated: None with fewer than two repeats of either; else whether the ranges do not overlap and
            |standardised| is at least `LEAST_STANDARDISED`.
        chance: the probability that the ranges of this many repeats do not overlap if the networks do not differ.
    """

    difference: float
    standardised: float
    separated: bool | None
    chance: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean and spread of a measure over repeats."""
    there = np.array([v for v in values if not math.isnan(v)], dtype=np.float64)
    if not there.size:
        return Summary(0, math.nan, math.nan, math.nan, math.nan)
    least, largest = float(there.min()), float(there.max())
    if there.size == 1:
        return Summary(1, least, math.nan, least, least)
    if least == largest:  # the rounding error of the mean would give a spurious deviation
        return Summary(there.size, least, 0.0, least, least)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values have no spread
        return Summary(there.size, float(there.mean()), float(there.std(ddof=1)), least, largest)


def judge(a: Summary, b: Summary) -> Verdict:
    """Compare a measure of two networks, given its spread over directions."""
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
        In [−1, 1]; NaN for fewer than three pairs, or if all values on one side are equal.
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
