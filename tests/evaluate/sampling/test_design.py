"""The order of the examples, where points stop, and how often the intervals there hold."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import ROOT

from lsweep.errors import ConfigError, DataError
from lsweep.evaluate.sampling.design import Subset, Tolerance, design
from lsweep.evaluate.sampling.intervals import Estimate, spend_alpha

LN10 = math.log(10)
CLASSES = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@settings(deadline=None)  # a busy machine is no failure
@given(CLASSES, st.integers(0, 2**63), st.sampled_from([1.05, 1.5, 2.0]), st.sampled_from([1, 8, 50]))
def test_a_design(sizes: list[int], seed: int, growth: float, multiple: int) -> None:
    labels = np.random.default_rng(len(sizes)).permutation(np.repeat(np.arange(len(sizes)) * 7 - 3, sizes))
    count = len(labels)
    made = design(labels, seed=seed, least=20, growth=growth, multiple=multiple)
    assert np.array_equal(np.sort(made.strata.order), np.arange(count)) and len(made) == count
    assert made.looks[-1] == count and all(a < b for a, b in pairwise(made.looks))
    assert all(n >= 20 and n % multiple == 0 for n in made.looks[:-1])
    for n in made.looks[:-1]:
        seen = np.bincount(made.strata.of[:n], minlength=len(made.strata.sizes))
        assert (seen >= 2).all()
        shares = n * made.strata.sizes / count
        # Each stratum's share is rounded, and n is the sum of what was rounded.
        assert (np.abs(seen - shares) <= 0.5 + shares / n * len(shares) / 2 + 1e-9).all()


def test_the_same_on_every_machine() -> None:
    made = design(np.arange(1000) % 10, seed=2018)
    assert made.strata.order[:10].tolist() == [120, 157, 184, 476, 531, 548, 599, 643, 812, 825]
    assert made.sha256() == design(np.arange(1000) % 10, seed=2018).sha256()
    assert made.sha256() != design(np.arange(1000) % 10, seed=2019).sha256()
    assert made.sha256() != design(np.arange(1000) // 100, seed=2018).sha256()
    assert made.looks[:5] == (100, 105, 111, 117, 123) and made.looks[-2:] == (873, 1000)


def test_every_example_is_as_likely() -> None:
    """Each is among the first four of twenty equally often, within 5 binomial errors."""
    firsts = np.array([design(np.repeat([0, 1], 10), seed=seed).strata.order[:4] for seed in range(3000)])
    often = np.bincount(firsts.ravel(), minlength=20) / 3000
    assert (np.abs(often - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 3000)).all()


def test_strata_and_the_first_look() -> None:
    for labels in (np.linspace(0, 1, 500), np.zeros((500, 3), dtype=int), np.arange(500) % 2 == 0):
        made = design(labels)
        assert made.strata.sizes.tolist() == [500] and made.looks[0] == 100
    assert design(np.arange(30) % 3).looks == (30,)
    assert design(np.arange(5000) % 100).looks[0] == 500  # five of each, rather than 100
    assert design(np.arange(1000) % 100).looks[0] == 100  # there, five of each would be half of all
    with pytest.raises(DataError, match="at least one example"):
        design(np.zeros(0, dtype=int))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"least": 19}, "least must be >= 20 and finite, got 19"),
        ({"growth": 1.0}, "growth must be >= 1.01"),
        ({"growth": math.inf}, "growth must be >= 1.01 and finite, got inf"),
        ({"growth": math.nan}, "growth must be >= 1.01 and finite, got nan"),
        ({"multiple": 0}, "multiple must be >= 1"),
    ],
)
def test_bad_arguments(arguments: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        design(np.arange(1000) % 10, **arguments)
    assert caught.value.key == next(iter(arguments))


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({}, "relative_error"),
        ({"relative_error": -0.1}, "relative_error"),
        ({"absolute_error": math.nan}, "absolute_error"),
        ({"relative_error": 0.1, "confidence": 1.0}, "confidence"),
        ({"relative_error": 0.1, "confidence": 0.3}, "confidence"),
    ],
)
def test_bad_tolerances(arguments: dict, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Tolerance(**arguments)
    assert caught.value.key == key


def heavy(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and losses as at a minimum: nearly nothing, but for one in two hundred."""
    rng = np.random.default_rng(seed)
    losses = rng.lognormal(-8, 2, size=count)
    losses[rng.choice(count, count // 200, replace=False)] = rng.uniform(1, 6, size=count // 200)
    return np.arange(count) % 10, losses


POPULATIONS = {
    "normal": (lambda rng, labels: 3 + labels + rng.normal(size=2000), Tolerance(0.02)),
    "lognormal": (lambda rng, labels: rng.lognormal(0, 2, size=2000), Tolerance(0.3)),
    "mostly nothing": (lambda rng, labels: heavy(2000)[1], Tolerance(0.02, 0.02)),
    "mostly nothing, wide": (lambda rng, labels: heavy(2000)[1], Tolerance(0.02, 0.1)),
    "classes alone": (lambda rng, labels: 1.0 + labels, Tolerance(0.05)),
    "one class unlike": (
        lambda rng, labels: np.where(labels == 3, rng.lognormal(1, 1, 2000), 0.1),
        Tolerance(0.4),
    ),
}


def stopped(subset: Subset, losses: np.ndarray) -> Estimate:
    """What is known of the losses, in the data's order, where their point stops."""
    ordered = losses[subset.design.strata.order]
    stop = subset.search(lambda examples: ordered[:examples])
    return subset.loss(ordered[: stop.examples], stop.level)


def stops(
    losses: np.ndarray, labels: np.ndarray, tolerance: Tolerance, orders: int, scale: float
) -> np.ndarray:
    """(orders, 3): mean, half-width and examples where each random order stops."""
    found = []
    for seed in range(orders):
        subset = Subset(design(labels, seed=seed), tolerance, scale)
        loss = stopped(subset, losses)
        found.append((loss.mean, loss.half_width, loss.examples))
    return np.array(found)


def held(found: np.ndarray, truth: float) -> float:
    mean, half, _ = found.T
    return float((np.abs(mean - truth) <= half + 1e-12 * abs(truth)).mean())


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_intervals_hold(name: str) -> None:
    make, tolerance = POPULATIONS[name]
    labels = np.arange(2000) % 10
    losses = make(np.random.default_rng(4), labels)
    found = stops(losses, labels, tolerance, 250, LN10)
    assert held(found, losses.mean()) >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 250)
    # The rule is of use: not everything is evaluated, and the tolerance is kept.
    assert (found[:, 2] >= 100).all() and found[:, 2].mean() < 1400
    wanted = np.maximum(tolerance.relative_error * found[:, 0], tolerance.absolute_error)
    assert (found[:, 1] <= wanted).all()


def test_students_t_does_not_hold() -> None:
    """What the rule is for: the plain interval, looked at as often, stops on a few tiny losses."""
    labels, losses = heavy(2000)
    missed = 0
    for seed in range(250):
        plain = np.random.default_rng(seed).permutation(losses)
        for n in design(labels, growth=1.5).looks:
            half = 1.98 * plain[:n].std(ddof=1) * math.sqrt((1 - n / 2000) / n)
            if half <= max(0.02 * plain[:n].mean(), 0.02):
                missed += abs(plain[:n].mean() - losses.mean()) > half
                break
    assert missed / 250 > 0.2


def test_all_examples_are_exact() -> None:
    labels, losses = heavy(1000)
    subset = Subset(design(labels), Tolerance(1e-6), LN10)
    loss = stopped(subset, losses)
    assert loss.examples == 1000 and loss.half_width == loss.standard_error == 0
    assert loss.mean == pytest.approx(losses.mean(), rel=1e-14)


@pytest.mark.parametrize("scale", [0.0, LN10])
def test_zeros_are_no_proof_of_zero(scale: float) -> None:
    subset = Subset(design(np.arange(1000) % 10), Tolerance(0.5), scale)
    loss = stopped(subset, np.zeros(1000))
    assert (loss.mean, loss.examples) == (0.0, 1000)


@pytest.mark.parametrize(("bad", "mean"), [(math.nan, math.nan), (math.inf, math.inf)])
def test_a_loss_that_is_not_finite_needs_no_more(bad: float, mean: float) -> None:
    made = design(np.arange(1000) % 10, least=60)
    subset = Subset(made, Tolerance(0.2), LN10)
    losses = np.random.default_rng(0).lognormal(size=1000)
    losses[made.strata.order[70]] = bad  # after the first look
    ordered = losses[made.strata.order]
    stop = subset.search(lambda examples: ordered[:examples])
    assert 70 < stop.examples < 1000
    found = subset.loss(ordered[: stop.examples], stop.level)
    np.testing.assert_equal([found.mean, found.standard_error], [mean, math.nan])


def test_every_metric_has_its_error() -> None:
    rng = np.random.default_rng(0)
    loss, margin = rng.normal(5, 1, 2000), rng.normal(0, 3, 2000)
    subset = Subset(design(np.zeros(2000)), Tolerance(0.1), LN10)
    asked: list[int] = []
    stop = subset.search(lambda examples: (asked.append(examples), loss[:examples])[1])
    assert asked == sorted(set(asked)) and asked[-1] == stop.examples < 2000 and len(asked) <= 3
    accuracy = subset.fraction(np.ones(stop.examples), stop.level)
    assert accuracy.high == 1.0 and 0.9 < accuracy.low < 1
    found = subset.mean(margin[: stop.examples], stop.level)
    assert found.low < margin.mean() < found.high


def test_differences_between_points_are_paired() -> None:
    labels = np.arange(2000) % 10
    rng = np.random.default_rng(0)
    here = rng.lognormal(0, 1, 2000)
    there = here * 1.05 + rng.normal(0, 0.01, 2000)
    errors, misses, level = [], 0, spend_alpha(0.05)[1]
    for seed in range(100):
        subset = Subset(design(labels, seed=seed), Tolerance(0.02))
        prefix = subset.design.strata.order[:225]
        apart = [subset.mean(values[prefix], level).standard_error for values in (here, there)]
        difference = subset.mean(there[prefix] - here[prefix], level)
        errors.append(difference.standard_error / math.hypot(*apart))
        misses += not difference.low <= (there - here).mean() <= difference.high
    assert np.median(errors) < 0.1 and misses <= 5


def test_a_prefix_needs_a_level() -> None:
    subset = Subset(design(np.zeros(1000)), Tolerance(0.02))
    with pytest.raises(ValueError, match="101 of 1000 examples need a level"):
        subset.loss(np.ones(101), None)


def real_losses(
    shared: Path, points: list[tuple[float, float]], images: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels, and the losses of the paper's network without shortcuts at some points of its plane."""
    import torch

    from lsweep import config
    from lsweep.comm import SerialComm
    from lsweep.directions import agreement
    from lsweep.evaluate import problem
    from lsweep.models import parameters

    toml = ROOT / "results" / "figures" / "li2018_resnet56" / "resnet56_noshort.toml"
    path, trained = shared / "data" / "cifar10" / "train_1.npz", shared / "weights/li2018/resnet56_noshort.t7"
    read = config.load(toml, [f"data.limit={images}", f"data.path={path}", f"model.weights={trained}"])
    built = problem.build(read, SerialComm())
    space = parameters.weight_space(built.model, "weights")
    x, y = agreement.make(read.directions, read.grid.names, built.model, SerialComm(), space)
    moving = parameters.tensors_of(built.model.eval(), space)
    theta = [tensor.detach().clone() for tensor in moving]
    batches = list(built.splits["train"].batches(50))
    found = []
    with torch.no_grad():
        for a, b in points:
            for tensor, centre, dx, dy in zip(moving, theta, x, y, strict=True):
                tensor.copy_(centre + a * dx + b * dy)
            losses = [built.objective(built.model, batch)["loss"][0] for batch in batches]
            found.append(torch.cat(losses).double().numpy())
    return torch.cat([batch[1] for batch in batches]).numpy(), found


@pytest.mark.slow
def test_the_intervals_hold_on_the_papers_network(shared: Path) -> None:
    """Centre, bowl, rim and chaos; results/bench/subset_coverage has more points, examples and orders."""
    labels, points = real_losses(shared, [(0, 0), (0, 0.1), (0.05, 0), (0, 0.5)], 800)
    assert points[0].mean() < 0.3 < points[1].mean() < 1 < points[2].mean()
    for losses in points:
        for tolerance in (Tolerance(0.05), Tolerance(0.05, 0.1), Tolerance(0.4)):
            found = stops(losses, labels, tolerance, 200, LN10)
            assert held(found, losses.mean()) >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 200)
        assert found[:, 2].mean() < 700
