"""Sampling by predicted losses: the estimates are right whatever was predicted; a bad prediction costs examples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsweep.evaluate.sampling.design import Tolerance
from lsweep.evaluate.sampling.importance import (
    FIRST,
    Importance,
    Prediction,
    Sample,
    chances,
    draw,
    regression,
)
from lsweep.evaluate.sampling.intervals import spend_alpha

COUNT = 2000
LEVEL = spend_alpha(0.05)[1]
SIZES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60)


@settings(deadline=None)
@given(SIZES, st.floats(0.01, 1.2))
def test_chances_have_a_sum_and_a_proportion(sizes: list[float], share: float) -> None:
    size, count = np.array(sizes), share * len(sizes)
    odds = chances(size, count)
    assert ((odds > 0) & (odds <= 1)).all()
    assert odds.sum() == pytest.approx(min(count, len(size)), rel=1e-9)
    ratio = (odds / size)[odds < 1]
    np.testing.assert_allclose(ratio, ratio[:1].repeat(len(ratio)), rtol=1e-9)
    # What is certain is so since it is larger; and a larger sample leaves nothing out.
    assert not (odds < 1).any() or (size[odds == 1] * ratio[0] >= 1 - 1e-9).all()
    assert (chances(size, count * 1.3) >= odds * (1 - 1e-9)).all()


def test_own_numbers_for_every_point_and_split() -> None:
    first = draw(0, 7, 4)
    assert first.tolist() == draw(0, 7, 4).tolist() and ((first >= 0) & (first < 1)).all()
    others = [draw(1, 7, 4), draw(0, 8, 4), draw(0, 7, 4, split=1)]
    assert all(not np.isclose(first, other).any() for other in others)
    many = np.concatenate([draw(0, point, 500) for point in range(40)])
    assert many.mean() == pytest.approx(0.5, abs=4 / math.sqrt(12 * len(many)))


@dataclass(frozen=True, eq=False)
class Case:
    """Losses with heavy tails, and what somebody predicts of them."""

    truth: np.ndarray
    prediction: Prediction

    def importance(self, point: int, tolerance: float = 0.05) -> Importance:
        return Importance(self.prediction, draw(0, point, len(self.truth)), Tolerance(tolerance))


def case(name: str) -> Case:
    rng = np.random.default_rng(3)
    truth = rng.lognormal(-4, 2.5, COUNT)
    scatter = {"exact": 0.0, "good": 0.3, "poor": 1.0, "useless": 3.0}
    losses = truth * np.exp(scatter.get(name, 0.3) * rng.normal(size=COUNT))
    if name == "too small":
        losses = losses / 10
    elif name == "of other examples":
        losses = rng.permutation(truth)
    elif name == "constant":
        losses = np.full(COUNT, 1.0)
    high = losses * np.exp(np.abs(rng.normal(size=COUNT)))
    if name == "blind but for a neighbour":
        losses[rng.choice(COUNT, COUNT // 20, replace=False)] = 1e-9
    elif name == "blind to half":
        losses[: COUNT // 2] = high[: COUNT // 2] = 1e-9
    elif name == "far too large for some":
        losses[rng.choice(COUNT, COUNT // 20, replace=False)] = 50.0
        high = np.maximum(high, losses)
    return Case(truth, Prediction(losses, high))


GOOD = ("exact", "good")
BAD = (
    *("poor", "useless", "too small", "of other examples", "constant"),
    *("blind but for a neighbour", "blind to half", "far too large for some"),
)


@pytest.mark.parametrize("name", GOOD + BAD)
def test_without_bias_over_many_samples(name: str) -> None:
    made = case(name)
    found = []
    for point in range(600):
        importance = made.importance(point)
        sample = importance.sample(300, LEVEL)
        found.append(importance.loss(made.truth[sample.examples], sample).mean)
    # A regression's bias is of the order of 1/n; the tolerance of a sweep is wider.
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(made.truth.mean(), abs=4 * error + 0.01 * made.truth.mean())


@pytest.mark.parametrize("name", GOOD + BAD)
def test_the_intervals_hold(name: str, tolerance: float = 0.05) -> None:
    made, mean, points = case(name), case(name).truth.mean(), 150
    held, used = 0, []
    for point in range(points):
        importance = made.importance(point, tolerance)
        seen: list[int] = []

        def losses(examples: np.ndarray, seen: list[int] = seen) -> np.ndarray:
            assert set(seen) <= set(examples.tolist())
            seen[:] = examples.tolist()
            return made.truth[examples]

        sample = importance.search(losses, 0.8 * COUNT)
        used.append(len(seen) if sample else COUNT)
        assert len(seen) < 0.85 * COUNT
        if sample is None:  # somebody evaluates all of them
            held += 1
            continue
        found = importance.loss(made.truth[sample.examples], sample)
        assert found.half_width <= tolerance * found.mean and found.standard_error > 0
        held += abs(found.mean - mean) <= found.half_width + 1e-12 * mean
    assert held / points >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / points)
    if name in GOOD:
        assert np.median(used) < (1.1 * FIRST if name == "exact" else 0.2 * COUNT)
    if name == "of other examples":
        assert np.mean(used) > 0.9 * COUNT


def test_numbers_that_the_prediction_knows_are_no_good() -> None:
    """Were the same examples drawn at all points, they would be predicted well: what is off is never seen."""
    made = case("good")
    missed = {"own": 0, "same": 0}
    for point in range(60):
        numbers = draw(0, point, COUNT)
        seen_before = numbers < chances(made.prediction.losses**0.8 + 0.05, 600)
        losses = np.where(seen_before, made.truth, made.truth * 1.5)
        for kind, used in (("same", numbers), ("own", draw(1, point, COUNT))):
            importance = Importance(Prediction(losses, losses), used, Tolerance(0.1))
            sample = importance.search(lambda examples: made.truth[examples], math.inf)
            if sample is not None:
                found = importance.loss(made.truth[sample.examples], sample)
                missed[kind] += not found.low <= made.truth.mean() <= found.high
    assert missed["own"] <= 6 and missed["same"] > 40


def test_a_fit_is_exact_where_the_prediction_is_in_proportion() -> None:
    made = case("good")
    importance = made.importance(0)
    sample = importance.sample(150, LEVEL)
    values = 3 * made.prediction.losses + 2 * made.prediction.high
    found = importance.loss(values[sample.examples], sample)
    assert found.mean == pytest.approx(values.mean(), rel=1e-9)
    assert found.half_width < 1e-6 * found.mean


def test_columns_that_are_proportional_or_zero() -> None:
    known = np.stack([np.arange(1.0, 101), 2 * np.arange(1.0, 101), np.zeros(100)], axis=1)
    odds = np.full(100, 0.5)
    sample = Sample(np.arange(0, 100, 2), odds, LEVEL)
    total, residuals = regression(7 * known[::2, 0], known, np.ones(100), sample)
    assert total == pytest.approx(7 * known[:, 0].sum(), rel=1e-9)
    np.testing.assert_allclose(residuals, 0.0, atol=1e-9)


def test_all_examples_are_exact() -> None:
    made = case("useless")
    importance = made.importance(0)
    sample = importance.sample(COUNT, LEVEL)
    found = importance.loss(made.truth, sample)
    assert found.mean == pytest.approx(made.truth.mean(), rel=1e-12) and found.half_width == 0.0


def test_alike_losses_are_no_proof() -> None:
    """Nothing was seen to differ: an interval of width zero would be a lie."""
    flat = Prediction(np.ones(COUNT), np.ones(COUNT))
    importance = Importance(flat, draw(0, 0, COUNT), Tolerance(0.1))
    assert importance.search(lambda examples: np.zeros(len(examples)), 2000.0) is None


@pytest.mark.parametrize(("bad", "mean"), [(math.nan, math.nan), (math.inf, math.inf)])
def test_a_loss_that_is_not_finite_needs_no_more(bad: float, mean: float) -> None:
    made = case("good")
    importance = made.importance(0)
    asked = []

    def losses(examples: np.ndarray) -> np.ndarray:
        asked.append(len(examples))
        return np.where(np.arange(len(examples)) == 5, bad, 1.0)

    sample = importance.search(losses, COUNT)
    assert sample is not None and len(asked) == 1
    found = importance.loss(losses(sample.examples), sample)
    np.testing.assert_equal([found.mean, found.standard_error], [mean, math.nan])


def test_an_accuracy_and_its_error() -> None:
    made = case("good")
    right = (made.truth < math.log(2)).astype(float)
    within, errors = 0, []
    for point in range(200):
        importance = made.importance(point)
        sample = importance.sample(300, LEVEL)
        mean, error = importance.mean(right[sample.examples], sample)
        within += abs(mean - right.mean()) <= 2 * error
        errors.append(error)
    assert within >= 180
    assert np.median(errors) < math.sqrt(
        right.mean() * (1 - right.mean()) / 300
    )  # what no prediction would give
    sample = importance.sample(300, LEVEL)
    assert importance.mean(np.ones(len(sample.examples)), sample)[1] > 0
