"""α over the looks: against the bivariate normal, and against populations drawn without replacement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from lsweep.spending import levels

LOOKS = (60, 90, 140, 210, 320)


def test_one_look_is_the_textbook_interval() -> None:
    (only,) = levels((100,), 5000, 0.05)
    assert only.examples == 100 and only.alpha == 0.05
    assert only.critical == pytest.approx(norm.ppf(0.975), abs=1e-4) and only.critical >= norm.ppf(0.975)


def test_nothing_to_spend_on() -> None:
    assert levels((), 50, 0.05) == ()


def test_two_looks_against_the_bivariate_normal() -> None:
    first, second = levels((100, 300), 1000, 0.05)
    # Cov(m_100, m_300) = Var(m_300) = S²(1/300 - 1/1000), without replacement.
    correlation = np.sqrt((1 / 300 - 1 / 1000) / (1 / 100 - 1 / 1000))
    both = multivariate_normal(cov=[[1, correlation], [correlation, 1]])
    c = np.array([first.critical, second.critical])
    inside = both.cdf(c, lower_limit=-c)
    assert 1 - inside == pytest.approx(0.05, abs=2e-5) and 1 - inside <= 0.05
    assert first.alpha == pytest.approx(2 * norm.sf(first.critical), abs=1e-5)


def test_each_look_spends_its_share() -> None:
    found = levels(LOOKS, 500, 0.1)
    assert [level.examples for level in found] == list(LOOKS)
    np.testing.assert_allclose(
        np.cumsum([level.alpha for level in found]), 0.1 * np.sqrt(np.array(LOOKS) / 320)
    )


def test_against_random_orders_of_a_normal_population() -> None:
    """First crossings without replacement, of the known standard error: each look's within 4 binomial errors."""
    rng = np.random.default_rng(1)
    population = rng.normal(size=500)
    orders = rng.permuted(np.tile(population, (20000, 1)), axis=1)
    means = np.cumsum(orders, axis=1)[:, np.array(LOOKS) - 1] / LOOKS
    errors = population.std(ddof=1) * np.sqrt(1 / np.array(LOOKS) - 1 / 500)
    found = levels(LOOKS, 500, 0.1)
    crossed = np.abs(means - population.mean()) / errors > [level.critical for level in found]
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), len(LOOKS))
    for index, level in enumerate(found):
        share = (first == index).mean()
        assert abs(share - level.alpha) < 4 * np.sqrt(level.alpha / len(orders)), (index, share)
