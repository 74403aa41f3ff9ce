"""Points that are told what their neighbours' examples lost: fewer examples, and the same truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import project
import pytest
import torch
from launch import python
from torch import nn

from lsweep.data import from_object
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.objective import Supervised, cross_entropy
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.sampling import example_losses as module
from lsweep.evaluate.sampling.design import Tolerance
from lsweep.evaluate.sampling.example_losses import MeasuredLosses, Neighbours, fits
from lsweep.evaluate.sampling.stopping import ErrorBudget
from lsweep.evaluate.sampling.strata import stratify
from lsweep.grid import Axis, Grid, Refine
from lsweep.grid.hierarchy import hierarchy_levels
from lsweep.models.parameters import weight_space
from lsweep.store.reader import read, read_identity
from lsweep.surface import Precision

COUNT = 3000
GRID = Grid(Axis(-0.6, 0.6, 33), refine=Refine(0.02))
ACCURACY = ErrorBudget(subset=Tolerance(0.03), scale=float(np.log(5)))


def classes(count: int = COUNT, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes that a network tells apart, but for a few: near its minimum these make the loss."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (count,), generator=rng)
    return torch.randn(count, 5, generator=rng) + 4 * nn.functional.one_hot(labels, 5), labels


@contextmanager
def evaluators(accuracy: ErrorBudget, *splits: Any) -> Iterator[tuple[ExactEvaluator, SampledEvaluator]]:
    """All examples; and as few as the neighbours allow."""
    torch.manual_seed(0)
    model = nn.Linear(5, 5)
    with torch.no_grad():
        model.weight.copy_(2.0 * torch.eye(5))
        model.bias.zero_()
    drawn = [[3 * torch.randn_like(p) for p in model.parameters()]]
    named = dict(zip(("train", "test"), map(from_object, splits), strict=False))
    with exact_evaluator(
        model, named, Supervised(cross_entropy), weight_space(model), drawn, batch_size=64
    ) as exact:
        few = SampledEvaluator(exact.net, 64, accuracy)
        few.neighbours = Neighbours(GRID, {name: made.strata for name, made in few.designs.items()})
        yield exact, few


def climb(few: SampledEvaluator) -> dict[int, Any]:
    """Evaluate the grid step by step; what is found at each point."""
    found: dict[int, Any] = {}
    assert few.neighbours is not None
    for step in range(len(hierarchy_levels(GRID.shape)) + 1):
        for point in np.flatnonzero(few.neighbours.steps == step):
            found[int(point)] = few.evaluate(GRID.coordinates(np.array([point])))
        for point, measured in sorted(few.neighbours.take().items()):
            few.neighbours.learn(point, measured)
    return found


@pytest.mark.parametrize("kind", [Precision.FP32, Precision.BF16])
def test_fewer_examples_and_the_same_losses(kind: Precision) -> None:
    accuracy = ErrorBudget(kind, 0.01, ACCURACY.subset, ACCURACY.scale)
    with evaluators(accuracy, classes()) as (exact, few):
        truth = exact.evaluate(GRID.coordinates(np.arange(GRID.size))).values
        assert few.neighbours is not None
        steps, neighbours = few.neighbours.steps, few.neighbours
        found = climb(few)
        few.neighbours = None
        alone = few.evaluate(GRID.coordinates(np.arange(GRID.size)))
    examples = np.array([found[point].columns["examples"][0] for point in range(GRID.size)])
    values = np.concatenate([found[point].values for point in range(GRID.size)])
    last = steps == steps.max()
    np.testing.assert_array_equal(examples[steps == 0], alone.columns["examples"][steps == 0])
    assert examples[last].mean() < 0.6 * alone.columns["examples"][last].mean()
    assert np.median(examples[last]) < 0.25 * COUNT
    few_used = examples < alone.columns["examples"] // 2
    assert (values[few_used, 2:] > 0).all()
    np.testing.assert_allclose(values[:, 0], truth[:, 0], rtol=0.05)
    errors = np.abs(values[:, :2] - truth) / np.maximum(values[:, 2:], 1e-6)
    assert (errors[few_used] < 4).all() and np.mean(errors[few_used] < 2) > 0.9
    assert not neighbours.take()  # the last step's points predict no others


def test_a_point_is_the_same_whoever_evaluates_it() -> None:
    """Its bits depend on coarser steps alone: not on what else this rank evaluates, nor how many times."""
    with evaluators(ACCURACY, classes(), classes(400, 4)) as (_, few):
        found = climb(few)
        assert few.neighbours is not None
        some = np.flatnonzero(few.neighbours.steps >= 1)[[9, 2, 5]]
        again = few.evaluate(GRID.coordinates(some))
    for row, point in enumerate(some):
        assert again.values[row].tobytes() == found[int(point)].values[0].tobytes()
        assert again.columns["examples"][row] == found[int(point)].columns["examples"][0]


def test_what_is_recorded_is_what_was_measured() -> None:
    with evaluators(ACCURACY, classes(), classes(400, 4)) as (exact, few):
        assert few.neighbours is not None
        few.evaluate(GRID.coordinates(np.array([8])))
        [(point, measured)] = few.neighbours.take().items()
        assert point == 8 and set(measured) == {"train", "test"} and not few.neighbours.take()
        losses = measured["train"]
        assert losses.examples.dtype == np.int32 and losses.losses.dtype == np.float32
        exact.net.move(GRID.coordinates(np.array([8]))[0])
        with torch.no_grad():
            inputs, labels = classes()
            every = nn.functional.cross_entropy(exact.net.model(inputs), labels, reduction="none").numpy()
        np.testing.assert_allclose(losses.losses, every[losses.examples], rtol=1e-4, atol=1e-5)
        few.neighbours.idle = True
        few.evaluate(GRID.coordinates(np.array([16])))
        assert not few.neighbours.take() and few.neighbours.predict("train", 4) is None


@pytest.mark.slow
def test_a_sweep_that_is_stopped_and_completed(tmp_path: Path) -> None:
    """By the command line: what is kept beside the output, and what the file says."""
    project.make(tmp_path)
    project.write_npz(tmp_path / "train.npz", images=2000)

    def sweep(output: str, *more: str) -> Any:
        sets = ["grid.x.num=17", "grid.y.num=9", "grid.refine.tolerance=0.02", "evaluate.relative_error=0.05"]
        pairs = [part for setting in (*sets, f'output="{output}.h5"') for part in ("--set", setting)]
        return python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", *pairs, *more, cwd=tmp_path)

    assert sweep("whole").returncode == 0
    assert sweep("cut", "--max-points", "70").returncode == 75
    assert (tmp_path / "cut.h5.examples").exists()
    off = sweep("cut", "--set", "evaluate.neighbours=false")
    assert off.returncode == 2 and "its neighbours is True" in off.stderr
    assert sweep("cut").returncode == 0
    assert not list(tmp_path.glob("*.examples"))
    whole, cut = read(tmp_path / "whole.h5"), read(tmp_path / "cut.h5")
    for a, b in [(whole.loss, cut.loss), (whole.columns["examples"], cut.columns["examples"])]:
        np.testing.assert_array_equal(a, b)
    assert whole.settled.any()
    assert sweep("cut", "--complete").returncode == 0
    assert read(tmp_path / "cut.h5").done.all() and not list(tmp_path.glob("*.examples"))
    assert sweep("plain", "--set", "evaluate.neighbours=false").returncode == 0
    assert "neighbours" not in read_identity(tmp_path / "plain.h5")[0]


def test_points_by_their_coordinates() -> None:
    grid = Grid(Axis(-1.0, 1.0, 7), Axis(0.0, 3.0, 5), Axis(1.0, 1.5, 3), refine=Refine(0.1))
    neighbours = Neighbours(grid, {"train": stratify(np.zeros(9, dtype=int), 9)})
    for point in range(grid.size):
        assert neighbours.point(grid.coordinates(np.array([point]))[0]) == point


def test_splits_have_random_numbers_of_their_own() -> None:
    strata = stratify(np.zeros(9, dtype=int), 9)
    neighbours = Neighbours(GRID, {"train": strata, "test": strata})
    train, test = (neighbours.numbers(split, 5) for split in ("train", "test"))
    assert not np.isclose(train, test).any()
    neighbours.record(0, "train", MeasuredLosses(np.arange(9, dtype=np.int32), np.ones(9, dtype=np.float32)))
    assert list(neighbours.take()) == [0]


def test_memory_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Grid(Axis(-1.0, 1.0, 51), Axis(-1.0, 1.0, 51), refine=Refine(0.02))
    assert fits(plane, {"train": 50_000, "test": 10_000})
    assert not fits(plane, {"train": 200_000})
    monkeypatch.setattr(module, "MOST_BYTES", 10**6)
    assert not fits(plane, {"train": 5000})
