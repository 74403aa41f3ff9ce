"""Examples until the loss is known well enough, alone and with a lower precision, and what the file says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import project
import pytest
import torch
from launch import python
from torch import nn

from lsweep.data import from_object
from lsweep.evaluate.exact import exact_evaluator
from lsweep.evaluate.objective import Supervised, cross_entropy
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.sampling.design import Tolerance
from lsweep.evaluate.sampling.stopping import ErrorBudget
from lsweep.models.parameters import weight_space
from lsweep.store.reader import read, read_identity
from lsweep.surface import Precision

POINTS = np.random.default_rng(0).uniform(-1, 1, (8, 2))


def classes(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 5, (count,), generator=rng)
    return torch.randn(count, 6, generator=rng) + labels[:, None], labels


def both(accuracy: ErrorBudget, *splits: Any, points: np.ndarray = POINTS) -> tuple[Any, np.ndarray]:
    """What an estimating evaluator finds, and the truth."""
    torch.manual_seed(0)
    model = nn.Linear(6, 5)
    drawn = [[torch.randn_like(p) for p in model.parameters()] for _ in range(2)]
    named = dict(zip(("train", "test"), map(from_object, splits), strict=False))
    with exact_evaluator(
        model, named, Supervised(cross_entropy), weight_space(model), drawn, batch_size=64
    ) as exact:
        truth = exact.evaluate(points).values
        return SampledEvaluator(exact.net, 64, accuracy).evaluate(points), truth


@pytest.mark.parametrize("kind", [Precision.FP32, Precision.BF16])
def test_no_more_examples_than_needed(kind: Precision) -> None:
    found, truth = both(ErrorBudget(kind, 0.02, Tolerance(0.05), scale=np.log(5)), classes())
    assert (found.columns["examples"] < 4000).sum() >= 6
    assert (found.columns["precision"] == kind).sum() >= 6
    np.testing.assert_allclose(found.values[:, 0], truth[:, 0], rtol=0.07)
    errors = np.abs(found.values[:, :2] - truth) / found.values[:, 2:]
    assert (errors < 4).all()
    assert (found.values[:, 2:] > 0).all()


def test_a_narrow_interval_takes_all_and_is_exact() -> None:
    found, truth = both(ErrorBudget(subset=Tolerance(1e-9)), classes(500), classes(300))
    assert (found.columns["examples"] == 500).all()
    np.testing.assert_allclose(found.values[:, :4], truth, rtol=1e-6)
    np.testing.assert_array_equal(found.values[:, 4:], 0.0)


def test_an_absolute_error_ends_where_the_loss_is_small() -> None:
    relative, _ = both(ErrorBudget(subset=Tolerance(0.01)), classes())
    either, truth = both(ErrorBudget(subset=Tolerance(0.01, absolute_error=0.5)), classes())
    assert either.columns["examples"].sum() < relative.columns["examples"].sum()
    np.testing.assert_allclose(either.values[:, 0], truth[:, 0], atol=0.5)


def test_infinite_losses_end_at_once() -> None:
    inputs, labels = classes()
    inputs[:] = torch.inf
    found, truth = both(ErrorBudget(Precision.BF16, 0.01, Tolerance(0.1)), (inputs, labels))
    assert not np.isfinite(truth[:, 0]).any()
    assert not np.isfinite(found.values[:, 0]).any()
    assert (found.columns["examples"] < 4000).all()


def test_points_differ_in_the_same_examples() -> None:
    """A point's values do not depend on which others are evaluated with it."""
    accuracy = ErrorBudget(Precision.BF16, 0.02, Tolerance(0.1), scale=np.log(5))
    together, _ = both(accuracy, classes())
    alone, _ = both(accuracy, classes(), points=POINTS[5:6])
    assert alone.values.tobytes() == together.values[5:6].tobytes()


def sweep(folder: Path, *settings: str) -> Any:
    pairs = [part for setting in settings for part in ("--set", setting)]
    return python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", *pairs, cwd=folder)


@pytest.mark.slow
def test_the_file_says_how_many(tmp_path: Path) -> None:
    project.make(tmp_path)
    project.write_npz(tmp_path / "train.npz", images=3000)
    done = sweep(tmp_path, "evaluate.relative_error=0.2")
    assert done.returncode == 0, done.stderr
    surface = read(tmp_path / "out/sweep.h5")
    examples = surface.columns["examples"]
    assert (examples >= 100).all()
    assert (examples < 3000).any()
    assert (surface.columns["precision"] == Precision.FP32).all()
    assert ((surface.metrics["loss_stderr"] == 0) == (examples == 3000)).all()
    identity = read_identity(tmp_path / "out/sweep.h5")[0]
    assert (identity["relative_error"], identity["confidence"]) == (0.2, 0.95)
    other = sweep(tmp_path, "evaluate.relative_error=0.3")
    assert other.returncode == 2
    assert "its relative_error is 0.2, this one's is 0.3" in other.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("evaluate.relative_error=0", "evaluate.relative_error must be > 0"),
        ("evaluate.relative_error=2.0", "evaluate.relative_error must be > 0"),
        ("evaluate.absolute_error=0.1", "needs evaluate.relative_error"),
        ("evaluate.tolerance=0", "evaluate.tolerance must be > 0"),
        ("evaluate.least_examples=3", "evaluate.least_examples must be > 19"),
    ],
)
def test_impossible_wishes(setting: str, said: str, tmp_path: Path) -> None:
    project.make(tmp_path)
    done = sweep(tmp_path, setting)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
