"""Stratified means against all samples that there are of tiny populations."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from lsweep.evaluate.sampling.intervals import Moments, moments

RNG = np.random.default_rng(0)
# Values of each stratum, and how many of them a sample has.
POPULATIONS = {
    "one stratum": ([RNG.lognormal(size=9)], [4]),
    "two": ([RNG.lognormal(size=5), RNG.normal(size=4)], [3, 2]),
    "three, one seen whole": ([RNG.lognormal(size=5), RNG.normal(size=4), np.array([7.0, 1.0])], [3, 3, 2]),
    "a stratum of one": ([RNG.lognormal(size=7), np.array([30.0])], [3, 1]),
}


def every_sample(population: list[np.ndarray], taken: list[int]) -> list[Moments]:
    sizes = np.array([len(values) for values in population])
    strata = np.repeat(np.arange(len(sizes)), taken)
    samples = product(*[combinations(values, n) for values, n in zip(population, taken, strict=True)])
    return [moments(np.concatenate(sample), strata, sizes) for sample in samples]


@pytest.mark.parametrize("name", POPULATIONS)
def test_unbiased_over_all_samples(name: str) -> None:
    found = every_sample(*POPULATIONS[name])
    everything = np.concatenate(POPULATIONS[name][0])
    means = np.array([m.mean for m in found])
    np.testing.assert_allclose(means.mean(), everything.mean())
    np.testing.assert_allclose(np.mean([m.variance for m in found]), means.var())


@pytest.mark.parametrize("name", ["one stratum", "three, one seen whole", "a stratum of one"])
def test_the_third_moment_is_unbiased(name: str) -> None:
    found = every_sample(*POPULATIONS[name])
    means = np.array([m.mean for m in found])
    thirds = [m.skewness * m.variance**1.5 for m in found]
    np.testing.assert_allclose(np.mean(thirds), ((means - means.mean()) ** 3).mean())


def test_the_textbook_variance() -> None:
    """Cochran eq. 5.12 by hand: N = 6 + 4, n = 3 + 2, s² = 1 and 8."""
    found = moments(np.array([1.0, 2.0, 3.0, 6.0, 10.0]), np.array([0, 0, 0, 1, 1]), np.array([6, 4]))
    first, second = 0.6**2 * 0.5 * 1 / 3, 0.4**2 * 0.5 * 8 / 2
    assert found.mean == pytest.approx(0.6 * 2 + 0.4 * 8)
    assert found.variance == pytest.approx(first + second)
    assert found.freedom == pytest.approx((first + second) ** 2 / (first**2 / 2 + second**2 / 1))
    assert found.effective == pytest.approx(1 / (0.6**2 * 0.5 / 3 + 0.4**2 * 0.5 / 2))


def test_one_stratum_is_a_simple_sample() -> None:
    values = RNG.normal(size=20)
    found = moments(values, np.zeros(20, dtype=int), np.array([80]))
    assert found.variance == pytest.approx(values.var(ddof=1) / 20 * (1 - 20 / 80))
    assert found.freedom == pytest.approx(19) and found.effective == pytest.approx(20 / 0.75)


@pytest.mark.parametrize("unit", [1e-100, 1e-30, 1e30, 1e100])
def test_units_do_not_matter(unit: float) -> None:
    values, strata, sizes = RNG.lognormal(size=12), np.repeat([0, 1], 6), np.array([50, 70])
    one, other = moments(values, strata, sizes), moments(values * unit, strata, sizes)
    expected = [one.mean * unit, one.variance * unit**2, one.skewness, one.freedom]
    np.testing.assert_allclose(
        [other.mean, other.variance, other.skewness, other.freedom], expected, rtol=1e-9
    )


def test_no_variance() -> None:
    found = moments(np.array([1.0, 1.0, 2.0, 2.0]), np.array([0, 0, 1, 1]), np.array([10, 30]))
    assert found.mean == 1.75 and found.variance == found.skewness == found.freedom == 0
