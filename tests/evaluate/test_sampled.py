"""Lower precision where it is good enough, fp32 where it is not, and the file says which."""

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
from small_models import conv_net
from torch import nn

from lsweep.data import from_object
from lsweep.errors import InputError
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.objective import Supervised, cross_entropy
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.sampling import control_variate
from lsweep.evaluate.sampling.design import design
from lsweep.evaluate.sampling.stopping import ErrorBudget, ExampleValues, StoppingRule
from lsweep.models.parameters import weight_space
from lsweep.store.reader import read, read_identity
from lsweep.surface import Precision

POINTS = np.random.default_rng(0).uniform(-1, 1, (8, 2))


class Lying(nn.Module):
    """A linear network that is off by a factor in any precision but fp32, for some examples or for all."""

    def __init__(self, factor: float, share: float) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 4)
        self.factor, self.share = factor, share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        if y.dtype == torch.float32:
            return y
        hit = (x[:, :1].float().abs() < self.share * 3).to(y.dtype)
        return y * (1 + (self.factor - 1) * hit)


def examples(count: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(count, *shape, generator=rng), torch.randint(0, 3, (count,), generator=rng)


@contextmanager
def evaluator_of(model: nn.Module, *splits: Any, **more: Any) -> Iterator[ExactEvaluator]:
    torch.manual_seed(0)
    drawn = [[torch.randn_like(p) for p in model.parameters()] for _ in range(2)]
    named = dict(zip(("train", "test"), map(from_object, splits), strict=False))
    with exact_evaluator(
        model, named, Supervised(cross_entropy), weight_space(model), drawn, **more
    ) as evaluator:
        yield evaluator


def test_bf16_within_its_tolerance() -> None:
    torch.manual_seed(0)
    with evaluator_of(conv_net(), examples(600, 3, 6, 5), examples(400, 3, 6, 5)) as exact:
        truth = exact.evaluate(POINTS).values
        cheap = SampledEvaluator(exact.net, 64, ErrorBudget(Precision.BF16, 0.02))
        found = cheap.evaluate(POINTS)
        again = cheap.evaluate(POINTS[3:4])
    assert cheap.names == (
        *("loss", "accuracy", "loss_test", "accuracy_test"),
        *("loss_stderr", "accuracy_stderr", "loss_stderr_test", "accuracy_stderr_test"),
    )
    low = found.columns["precision"] == Precision.BF16
    assert low.sum() >= 6
    np.testing.assert_allclose(found.values[:, [0, 2]], truth[:, [0, 2]], rtol=0.02)
    np.testing.assert_allclose(found.values[:, [1, 3]], truth[:, [1, 3]], atol=0.02)
    assert (found.values[low, 4] > 0).all()
    assert again.values.tobytes() == found.values[3:4].tobytes()


def test_a_bias_of_all_examples_is_corrected() -> None:
    """What the cheap pass does to all alike has no spread: the difference of a few corrects it."""
    model = Lying(1.05, share=1e9)
    with evaluator_of(model, examples(1000, 6)) as exact:
        truth = exact.evaluate(POINTS).values
        found = SampledEvaluator(exact.net, 64, ErrorBudget(Precision.BF16, 0.05)).evaluate(POINTS)
    assert (found.columns["precision"] == Precision.BF16).all()
    np.testing.assert_allclose(found.values[:, 0], truth[:, 0], rtol=0.03)


def test_what_is_off_for_some_is_evaluated_in_fp32() -> None:
    with evaluator_of(Lying(40.0, share=0.1), examples(1000, 6)) as exact:
        truth = exact.evaluate(POINTS).values
        found = SampledEvaluator(exact.net, 64, ErrorBudget(Precision.BF16, 0.01)).evaluate(POINTS)
    assert (found.columns["precision"] == Precision.FP32).all()
    np.testing.assert_allclose(found.values[:, :2], truth, rtol=1e-6)
    np.testing.assert_array_equal(found.values[:, 2:], 0.0)


def test_a_sample_that_missed_what_makes_the_loss_is_not_believed() -> None:
    """Nearly all losses are tiny and alike; five of a thousand make the mean, and none is in the sample."""
    order = design(np.zeros(1000))
    exact = np.full((1000, 1), 1e-3)
    cheap = exact * (1 + 1e-4 * np.random.default_rng(0).normal(size=(1000, 1)))
    exact[995:], cheap[995:] = 5.0, 9.0
    corrected = control_variate.correction(cheap, exact[:50], order)
    assert corrected.errors[0] * control_variate.WIDTH < 0.01 * cheap.mean()
    assert corrected.half_width == np.inf


@pytest.mark.parametrize(
    ("spread", "outliers", "least_early"),
    [(0.002, 0.0, 60), (0.003, 0.02, 10), (0.03, 0.0, 0)],
    ids=["alike", "some far off", "spread"],
)
def test_a_smaller_sample_where_it_is_enough_by_far(spread: float, outliers: float, least_early: int) -> None:
    """Differences from narrow to wide, some with outliers: what is accepted is within the tolerance."""
    rng = np.random.default_rng(1)
    early, beyond, accepted = 0, 0, 0
    for seed in range(100):
        exact = np.exp(rng.normal(size=1000))
        wrong = (rng.random(1000) < outliers) * rng.normal(0, 0.3, 1000)
        cheap = exact * (1 + spread * rng.normal(size=1000) + wrong)
        order = design(np.arange(1000) % 10, seed=seed, least=control_variate.LEAST)
        own, low = (ExampleValues(lambda i, v=v: v[i, None], order.strata.order, 1) for v in (exact, cheap))
        rule = StoppingRule(("loss",), order, ErrorBudget(Precision.BF16, 0.01), Precision.FP32)
        if (found := rule.in_low_precision(low, own)) is None:
            continue
        accepted += 1
        early += own.seen.sum() == control_variate.EARLY
        beyond += abs(found.means[0] / exact.mean() - 1) > 0.01
    assert early >= least_early and (least_early or not early)
    assert accepted > 80 and beyond <= 0.05 * accepted


def test_classes_too_many_for_the_smaller_sample() -> None:
    values = np.random.default_rng(0).random((400, 1)) + 1
    for classes, size in ((10, control_variate.EARLY), (20, None)):
        order = design(np.arange(400) % classes, least=control_variate.LEAST)
        assert control_variate.early(lambda n: values[:n], lambda n: values[:n], order, 0.01) == size


def test_not_finite_is_evaluated_in_fp32() -> None:
    inputs, labels = examples(400, 6)
    inputs[7] = torch.inf
    with evaluator_of(nn.Linear(6, 3), (inputs, labels)) as exact:
        found = SampledEvaluator(exact.net, 64, ErrorBudget(Precision.BF16, 0.01)).evaluate(POINTS[:2])
        truth = exact.evaluate(POINTS[:2]).values
    assert (found.columns["precision"] == Precision.FP32).all()
    np.testing.assert_array_equal(found.values[:, 0], truth[:, 0])


def test_few_examples_are_all_evaluated_exactly() -> None:
    assert control_variate.samples(99) == ()
    assert control_variate.samples(100) == (50,)
    assert control_variate.samples(5000) == (150, 300, 600, 1250, 2000)
    with evaluator_of(nn.Linear(6, 3), examples(60, 6)) as exact:
        found = SampledEvaluator(exact.net, 64, ErrorBudget(Precision.BF16, 0.01)).evaluate(POINTS[:2])
    assert (found.columns["precision"] == Precision.FP32).all()


def test_what_cannot_be_certified() -> None:
    def own(model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": cross_entropy(model(batch[0]), batch[1])}

    model = nn.Linear(6, 3)
    drawn = [[torch.randn_like(p) for p in model.parameters()]]
    with (
        exact_evaluator(
            model, {"train": from_object(examples(200, 6))}, own, weight_space(model), drawn
        ) as exact,
        pytest.raises(InputError, match="the objective is the user's own"),
    ):
        SampledEvaluator(exact.net, 64, ErrorBudget(Precision.BF16, 0.01))


def sweep(folder: Path, kind: str, *more: str, status: int = 0) -> str:
    settings = ["--set", f"evaluate.precision={kind}", "--set", f"output={kind}.h5"]
    done = python("-m", "lsweep", "sweep", "sweep.toml", *settings, *more, cwd=folder)
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.mark.slow
def test_the_file_says_how(tmp_path: Path) -> None:
    project.make(tmp_path)
    project.write_npz(tmp_path / "train.npz", images=600)
    sweep(tmp_path, "bf16")
    low, sure = read(tmp_path / "bf16.h5"), None
    sweep(tmp_path, "fp32")
    sure = read(tmp_path / "fp32.h5")
    kinds = low.columns["precision"]
    assert set(np.unique(kinds)) <= {Precision.FP32, Precision.BF16}
    assert (kinds == Precision.BF16).any()
    np.testing.assert_allclose(low.loss, sure.loss, rtol=0.02)
    assert ((low.metrics["loss_stderr"] > 0) == (kinds == Precision.BF16)).all()
    assert "precision" not in sure.columns
    identity = read_identity(tmp_path / "bf16.h5")[0]
    assert (identity["precision"], identity["tolerance"]) == ("bf16", 0.01)
    refused = sweep(tmp_path, "bf16", "--set", "evaluate.tolerance=0.1", status=2)
    assert "its tolerance is 0.01, this one's is 0.1" in refused


@pytest.mark.slow
def test_auto_and_tf32(tmp_path: Path) -> None:
    project.make(tmp_path)
    project.write_npz(tmp_path / "train.npz", images=300)
    said = sweep(tmp_path, "auto", "--verbose", "--max-points", "4", status=75)
    kind = read_identity(tmp_path / "auto.h5")[0]["precision"]
    assert f"precision {kind} is the fastest here at a tolerance of 0.01" in said
    assert "fastest" not in sweep(tmp_path, "auto")
    assert "needs a CUDA GPU" in sweep(tmp_path, "tf32", status=2)
