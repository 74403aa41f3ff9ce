"""Intervals for means and fractions: closed forms, and the cases without statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import hypergeom, norm, t

from lsweep.evaluate.sampling import intervals
from lsweep.evaluate.sampling.intervals import Estimate, Significance, unseen_share

RNG = np.random.default_rng(0)


def level(alpha: float = 0.05) -> Significance:
    return Significance(alpha, float(norm.isf(alpha / 2)))


def one_stratum(values: np.ndarray, count: int, alpha: float = 0.05, scale: float = 0.0) -> Estimate:
    n = len(values)
    return intervals.mean(values, np.zeros(n, dtype=int), np.array([count]), level(alpha), scale)


def test_without_skewness_it_is_students_and_the_unseen() -> None:
    half = RNG.normal(size=40)
    values = np.concatenate([half, -half])
    found = one_stratum(50 + values, 4000)
    error = values.std(ddof=1) / math.sqrt(80) * math.sqrt(1 - 80 / 4000)
    unseen = unseen_share(80, 4000, 0.05) * np.ptp(values)
    assert found.mean == pytest.approx(50) and found.examples == 80
    assert found.half_width == pytest.approx(math.hypot(t.isf(0.025, 79) * error, unseen))
    assert found.high - found.mean == pytest.approx(found.mean - found.low)
    assert found.standard_error == pytest.approx(math.hypot(error, unseen / norm.isf(0.025)))
    wide = one_stratum(50 + values, 4000, scale=100.0)
    unseen = unseen_share(80, 4000, 0.05) * 100
    assert wide.half_width == pytest.approx(math.hypot(t.isf(0.025, 79) * error, unseen))


def test_skewness_widens() -> None:
    values = RNG.lognormal(size=400)
    found, mirrored = one_stratum(values, 10**6), one_stratum(-values, 10**6)
    error = values.std(ddof=1) / 20
    skewness = 400**2 / (399 * 398) * ((values - values.mean()) ** 3).mean() / values.std(ddof=1) ** 3 / 20
    quantile = t.isf(0.025, 399)
    expected = error * (quantile + skewness * (1 + 2 * quantile**2) / 6)
    unseen = unseen_share(400, 10**6, 0.05) * np.ptp(values)
    assert skewness > 0.1 and found.half_width == pytest.approx(math.hypot(expected, unseen), rel=1e-3)
    assert mirrored.half_width == pytest.approx(found.half_width)


def test_all_examples_are_exact() -> None:
    values = RNG.lognormal(2, size=30)
    for estimate in (intervals.mean, intervals.fraction):
        found = estimate(values, np.repeat([0, 1], 15), np.array([15, 15]), None)
        mean = values.mean()
        assert found == Estimate(mean, 0.0, mean, mean, 30) and found.half_width == 0


@pytest.mark.parametrize("estimate", [intervals.mean, intervals.fraction])
def test_a_part_needs_a_level(estimate) -> None:
    with pytest.raises(ValueError, match="30 of 31 examples need a level"):
        estimate(np.ones(30), np.zeros(30, dtype=int), np.array([31]), None)


@pytest.mark.parametrize(
    ("bad", "mean"), [((math.nan,), math.nan), ((math.inf,), math.inf), ((math.inf, -math.inf), math.nan)]
)
def test_a_mean_that_is_not_finite(bad: tuple[float, ...], mean: float) -> None:
    values = RNG.normal(size=50)
    values[: len(bad)] = bad
    found = one_stratum(values, 200)
    np.testing.assert_equal(
        [found.mean, found.standard_error, found.low, found.high], [mean] + [math.nan] * 3
    )
    assert found.examples == 50 and math.isnan(found.half_width)


def test_no_variance_is_no_certainty() -> None:
    share = unseen_share(100, 5000, 0.05)
    for values in (np.zeros(100), np.full(100, 10.0)):
        assert one_stratum(values, 5000).half_width == math.inf
        assert one_stratum(values, 5000, scale=2.3).half_width == pytest.approx(2.3 * share)
        assert one_stratum(values, 5000, scale=2.3).standard_error == pytest.approx(
            2.3 * share / norm.isf(0.025)
        )
    by_class, strata = np.repeat([1.0, 4.0], 50), np.repeat([0, 1], 50)
    found = intervals.mean(by_class, strata, np.array([2500, 2500]), level())
    # Strata 3 apart, each of one value: as little is known of the unseen as of zeros.
    assert found.mean == 2.5 and found.half_width == math.inf
    found = intervals.mean(by_class, strata, np.array([2500, 2500]), level(), 2.3)
    assert found.half_width == pytest.approx(2.3 * share)


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("scale", [0.0, 2.3])
def test_required_is_what_the_interval_then_needs(spread: float, scale: float) -> None:
    """Of a pilot's plan: the interval of as many examples is as wide as was wanted, to a tenth."""
    values = np.random.default_rng(5).lognormal(0, spread, 20000) if spread else np.ones(20000)
    strata, sizes = np.arange(20000) % 10, np.full(10, 2000)
    for wanted in (0.05, 0.2):
        n = intervals.required(values[:2000], strata[:2000], sizes, level(), wanted, scale)
        assert 2000 < n <= 20000
        if n == 20000 or n < 2100:
            continue
        half = intervals.mean(values[:n], strata[:n], sizes, level(), scale).half_width
        assert half == pytest.approx(wanted, rel=0.15)


def test_required_of_what_cannot_be_had_is_all() -> None:
    values = np.random.default_rng(0).normal(size=100)
    assert intervals.required(values, np.zeros(100, dtype=int), np.array([5000]), level(), 0.0) == 5000


@pytest.mark.parametrize(("n", "count"), [(20, 1000), (100, 5000), (500, 1000), (900, 1000)])
def test_unseen_share_is_the_rule_of_three(n: int, count: int) -> None:
    """As many as that are missed with a probability of at most α; in a large population with just about α."""
    unlike = math.ceil(unseen_share(n, count, 0.05) * count)
    assert hypergeom(count, unlike, n).pmf(0) <= 0.05
    assert hypergeom(count, unlike - max(2, unlike // 5), n).pmf(0) > 0.05
    assert unseen_share(100, 10**9, 0.05) == pytest.approx(-math.log(0.05) / 100)


@pytest.mark.parametrize("hits", [0, 1, 37, 99, 100])
def test_a_fraction_has_the_score_interval(hits: int) -> None:
    values = np.repeat([1.0, 0.0], [hits, 100 - hits])
    found = intervals.fraction(values, np.zeros(100, dtype=int), np.array([10**9]), level())
    assert found.mean == hits / 100 and 0 <= found.low <= found.mean <= found.high <= 1
    assert found.standard_error == pytest.approx(
        math.hypot(0.005, math.sqrt(found.mean * (1 - found.mean) / 99))
    )
    for end in (found.low, found.high):  # its ends are where the score test rejects
        if end not in (0, 1):
            score = abs(found.mean - end) / math.sqrt(end * (1 - end) / 100)
            assert score == pytest.approx(norm.isf(0.025), rel=1e-6)
    assert found.half_width < 0.11 and (found.high - found.low) > 0.03


def test_strata_tell_more_of_a_fraction() -> None:
    """All of one class right, all of another wrong: little is left to doubt."""
    values, strata = np.repeat([1.0, 0.0], 50), np.repeat([0, 1], 50)
    found = intervals.fraction(values, strata, np.array([500, 500]), level())
    assert found.mean == 0.5 and 0 < found.standard_error < 0.006


def test_fractions_are_covered() -> None:
    """Exact, over all samples of 60 from 400, for every number of hits: 95 % at the level that one look gets."""
    found = {
        hits: intervals.fraction(
            np.repeat([1.0, 0.0], [hits, 60 - hits]),
            np.zeros(60, dtype=int),
            np.array([400]),
            level(0.01),
        )
        for hits in range(61)
    }
    # The score interval's coverage dips below the nominal one next to 0 and 1 (Brown, Cai & DasGupta 2001).
    low, high = np.array([[estimate.low, estimate.high] for estimate in found.values()]).T
    for total in range(401):
        probability = hypergeom(400, total, 60).pmf(np.arange(61))
        assert probability[(low <= total / 400) & (total / 400 <= high)].sum() >= 0.95, total
