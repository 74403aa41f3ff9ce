"""Stratified beginnings, and means with errors, against plain enumeration."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from lsweep.evaluate.sampling.strata import Strata, stratify


@pytest.mark.parametrize("shares", [[100] * 10, [500, 300, 150, 50], [977, 23]])
def test_every_beginning_is_in_proportion(shares: list[int]) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(shares)), shares))
    strata = stratify(labels, least=100)
    assert sorted(strata.order) == list(range(len(labels)))
    assert strata.sizes.sum() == len(labels)
    for n in (100, 101, 250, 999, len(labels)):
        counts = np.bincount(strata.of[:n], minlength=len(strata.sizes))
        assert (abs(counts - n * strata.sizes / len(labels)) <= 1).all()
        assert (counts >= 2).all()
    assert len(strata.sizes) == (1 if shares[-1] == 23 else len(shares))


def test_rare_classes_are_put_together() -> None:
    labels = np.concatenate([np.repeat(np.arange(3), 300), np.arange(100) + 10])
    strata = stratify(labels, least=50)
    assert len(strata.sizes) < 30
    assert (np.bincount(strata.of[:50], minlength=len(strata.sizes)) >= 2).all()
    thousand = stratify(np.arange(1000), least=50)
    assert (np.bincount(thousand.of[:50], minlength=len(thousand.sizes)) >= 2).all()


def test_no_classes() -> None:
    strata = stratify(np.linspace(0, 1, 20), least=10)
    assert strata.sizes.tolist() == [20]


def test_the_order_is_the_seed_s() -> None:
    labels = np.arange(300) % 3
    assert stratify(labels, 50, 1).order.tolist() == stratify(labels, 50, 1).order.tolist()
    assert stratify(labels, 50, 1).order.tolist() != stratify(labels, 50, 2).order.tolist()
    assert stratify(labels, 50, 0).order[:6].tolist() == [40, 158, 177, 77, 156, 256]  # on every machine


def test_mean_and_error_over_all_samples() -> None:
    """Of all stratified samples of a tiny population the means average to the truth, and so do squared errors."""
    values = np.array([1.0, 2.0, 4.0, 8.0, 10.0, 20.0, 30.0])
    groups = [range(4), range(4, 7)]
    means, variances = [], []
    for first, second in product(combinations(groups[0], 2), combinations(groups[1], 2)):
        drawn = [*first, *second]
        rest = [i for i in range(7) if i not in drawn]
        order = np.array(drawn + rest)
        strata = Strata(order, (order >= 4).astype(int), np.array([4, 3]))
        mean, error = strata.mean_and_error(values[order[:4]])
        means.append(mean)
        variances.append(error**2)
    assert np.mean(means) == pytest.approx(values.mean())
    assert np.mean(variances) == pytest.approx(np.var(means))


def test_all_examples_are_exact() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    strata = stratify(np.arange(50) % 5, 20)
    mean, error = strata.mean_and_error(values[strata.order])
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_array_equal(error, 0.0)
