"""Predicted losses of single examples: from coarser points, whatever the order in which these were measured."""

from __future__ import annotations

import numpy as np
import pytest

from lsweep.evaluate.sampling.example_losses import ExampleField, MeasuredLosses, most_bytes
from lsweep.evaluate.sampling.strata import stratify
from lsweep.grid.hierarchy import hierarchy_levels, point_levels

COUNT = 12
STRATA = stratify(np.arange(COUNT) % 3, COUNT, seed=1)
ALL = np.arange(COUNT, dtype=np.int32)
SHAPES = [(33,), (18, 33), (9, 10, 17)]


def truth(shape: tuple[int, ...]) -> np.ndarray:
    """(size, N): every example's loss is the exponential of a cubic of its own in each coordinate."""
    rng = np.random.default_rng(0)
    logs = rng.normal(size=COUNT) * np.ones((*shape, 1))
    for axis, n in enumerate(shape):
        x = np.linspace(-1, 1, n).reshape([-1 if a == axis else 1 for a in range(len(shape) + 1)])
        logs = logs + sum(rng.normal(size=COUNT) * x**power for power in (1, 2, 3))
    return np.exp(logs).reshape(-1, COUNT)


def full(losses: np.ndarray) -> MeasuredLosses:
    return MeasuredLosses(ALL, losses.astype(np.float32))


def climbed(shape: tuple[int, ...], field: ExampleField, level: int, rng: np.random.Generator) -> None:
    """Measure all points below a step, in any order within a step."""
    losses, levels_ = truth(shape), point_levels(shape)
    for lower in range(level):
        for point in rng.permutation(np.flatnonzero(levels_ == lower)):
            field.learn(int(point), full(losses[point]))


@pytest.mark.parametrize("shape", SHAPES)
def test_cubics_are_predicted_exactly(shape: tuple[int, ...]) -> None:
    losses, level = truth(shape), point_levels(shape)
    field = ExampleField(shape, STRATA)
    climbed(shape, field, len(hierarchy_levels(shape)), np.random.default_rng(0))
    for point in np.flatnonzero(level == len(hierarchy_levels(shape)))[::7]:
        found = field.predict(int(point))
        assert found is not None
        np.testing.assert_allclose(found.losses, losses[point], rtol=1e-4)
        assert (found.high >= found.losses / 2.001).all()
    foot = int(np.flatnonzero(level == 0)[3])
    assert field.predict(foot) is None


def test_every_point_has_its_step() -> None:
    level = point_levels((9, 17))
    assert (
        level.reshape(9, 17)[0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0] or level.max()
    )
    for number, step in enumerate(hierarchy_levels((9, 17)), start=1):
        assert (level.reshape(9, 17)[np.ix_(*step.points)] == number).all()
        assert (level.reshape(9, 17)[np.ix_(*step.before)] < number).all()


def test_the_order_within_a_step_is_no_matter() -> None:
    shape = (18, 33)
    found = []
    for seed in range(2):
        rng, field = np.random.default_rng(seed), ExampleField(shape, STRATA)
        climbed(shape, field, 3, rng)
        wanted = rng.permutation(np.flatnonzero(point_levels(shape) == 3))
        predictions = {int(point): field.predict(int(point)) for point in wanted}
        found.append([predictions[point].losses.tobytes() for point in sorted(predictions)])  # type: ignore[union-attr]
    assert found[0] == found[1]


def test_what_was_sampled_stands_and_the_rest_is_predicted() -> None:
    """A point in the middle has two samples: the next step sees these, and takes the others as predicted."""
    shape = (17,)
    losses, level = truth(shape), point_levels(shape)
    plain, sampled = ExampleField(shape, STRATA), ExampleField(shape, STRATA)
    for field in (plain, sampled):
        climbed(shape, field, 1, np.random.default_rng(0))
    middle = int(np.flatnonzero(level == 1)[2])
    few = np.array([2, 7], dtype=np.int32)
    sampled.learn(middle, MeasuredLosses(few, (losses[middle, few] * 1.5).astype(np.float32)))
    for field in (plain, sampled):
        for point in np.flatnonzero(level == 1):
            if point != middle:
                field.learn(int(point), full(losses[point]))
    without, having = plain.predict(middle + 1), sampled.predict(middle + 1)
    assert without is not None and having is not None
    changed = np.flatnonzero(~np.isclose(without.losses, having.losses, rtol=1e-6))
    assert changed.tolist() == few.tolist()
    assert (having.losses[few] > without.losses[few]).all()


def test_a_subset_without_a_prediction_stands_for_its_strata() -> None:
    field = ExampleField((17,), STRATA)
    seen = np.array([0, 3, 1, 2], dtype=np.int32)  # two of class 0, one of the others
    losses = np.array([1.0, 4.0, 10.0, 100.0], dtype=np.float32)
    for point in np.flatnonzero(point_levels((17,)) == 0):
        field.learn(int(point), MeasuredLosses(seen, losses))
    found = field.predict(int(np.flatnonzero(point_levels((17,)) == 1)[3]))
    assert found is not None
    expected = np.array([2.0, 10.0, 100.0])[np.arange(COUNT) % 3]  # in logarithms
    expected[seen] = losses
    np.testing.assert_allclose(found.losses, expected, rtol=1e-5)


def test_points_of_which_nothing_is_known() -> None:
    shape, level = (17,), point_levels((17,))
    losses = truth(shape)
    foot = np.flatnonzero(level == 0).tolist()

    def field_without(point: int, bad: float | None) -> ExampleField:
        field = ExampleField(shape, STRATA)
        for other in foot:
            if other != point:
                field.learn(other, full(losses[other]))
            elif bad is not None:
                field.learn(other, full(np.where(ALL == 1, bad, 1.0)))
        return field

    for bad in (None, np.inf, np.nan):
        field = field_without(foot[1], bad)
        assert field.predict(foot[1] - 2) is None and field.predict(foot[1] + 2) is None
        beyond = field.predict(foot[2] + 2)  # foot[1] is its outer neighbour: by the inner two alone
        assert beyond is not None
        between_two = np.sqrt(losses[foot[2]] * losses[foot[3]])
        np.testing.assert_allclose(beyond.losses, between_two, rtol=1e-5)


def test_negligible_losses_are_alike() -> None:
    field = ExampleField((17,), STRATA)
    for point in np.flatnonzero(point_levels((17,)) == 0):
        field.learn(int(point), full(np.where(ALL < 6, 0.0, 2.0)))
    found = field.predict(int(np.flatnonzero(point_levels((17,)) == 1)[1]))
    assert found is not None
    np.testing.assert_allclose(found.losses[:6], 1e-6, rtol=1e-4)
    np.testing.assert_allclose(found.losses[6:], 2.0, rtol=1e-4)


def test_nothing_is_learned_too_late() -> None:
    shape, field = (17,), ExampleField((17,), STRATA)
    climbed(shape, field, 2, np.random.default_rng(0))
    last = int(np.flatnonzero(point_levels(shape) == 2)[0])
    field.learn(last, full(np.ones(COUNT)))  # predicts nobody, and is not kept
    assert field.predict(last) is not None
    with pytest.raises(ValueError, match="already been predicted from"):
        field.learn(last - 1, full(np.ones(COUNT)))


def test_memory() -> None:
    assert most_bytes((51, 51), 5000) == 26 * 51 * 5000 * 4
    assert most_bytes((1,), 5000) == 0
