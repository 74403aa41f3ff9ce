"""Products with the Hessian against the dense one that autograd gives, and against closed forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dense_hessian import dense, flat_data
from small_models import Quadratic, conv_net, images, live_in
from torch import nn

from lsweep.data import from_object
from lsweep.errors import InputError
from lsweep.evaluate.curvature.eigensolver import matrix
from lsweep.evaluate.curvature.operator import Hessian, NotFinite, moved_by, pack, unpack
from lsweep.evaluate.exact import exact_evaluator
from lsweep.evaluate.objective import LOSSES, Supervised, cross_entropy
from lsweep.models.parameters import weight_space

CLASSES = Supervised(cross_entropy)


class Attention(nn.Module):
    """One self-attention layer whose fused kernels have no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 12)
        self.out = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.mix(x).view(len(x), -1, 3, 1, 4).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).mean(dim=(1, 2)))


CASES: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "tanh": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)),
        flat_data(4),
        "cross_entropy",
    ),
    "relu, mse": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
        flat_data(4),
        "mse_softmax",
    ),
    "conv, BatchNorm": (conv_net, images(), "cross_entropy"),
    "BatchNorm1d": (
        lambda: live_in(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Softplus(), nn.Linear(5, 3))),
        flat_data(4),
        "cross_entropy",
    ),
    "attention": (Attention, flat_data(4, 6), "cross_entropy"),
}


@contextmanager
def hessian(
    model: nn.Module, data: Any, objective: Any = CLASSES, moved: list[bool] | None = None, **more: Any
) -> Iterator[Hessian]:
    """In float64 unless told otherwise."""
    size = more.pop("batch_size", 5)
    space = weight_space(model, more.pop("space", "weights"))
    settings = {"dtype": torch.float64, "batch_size": size} | more
    with exact_evaluator(model, {"train": from_object(data)}, objective, space, [], **settings) as evaluator:
        yield Hessian(evaluator.net, moved or [True] * len(space.entries), size)


@pytest.mark.parametrize("case", CASES)
def test_the_matrix_is_autograds(case: str) -> None:
    make, data, loss = CASES[case]
    model = make()
    with hessian(model, data, Supervised(LOSSES[loss])) as operator:
        got = matrix(operator)
    assert operator.products == operator.size
    np.testing.assert_allclose(got, dense(model, data, loss), rtol=1e-10, atol=1e-13)


def test_over_some_parameters_only() -> None:
    model, data = conv_net(), images()
    names = [entry.name for entry in weight_space(model).entries]
    moved = [name in ("0.weight", "5.bias") for name in names]
    with hessian(model, data, moved=moved) as operator:
        got = matrix(operator)
    assert operator.size == 4 * 3 * 9 + 3
    np.testing.assert_allclose(got, dense(model, data, "cross_entropy", moved), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 7, 12, 50])
def test_batches_of_any_size_give_the_same(batch_size: int) -> None:
    """The mean over the data, not the sum over batches."""
    model, data = conv_net(), images()
    with hessian(model, data) as operator:
        vector = np.random.default_rng(0).standard_normal(operator.size)
        reference = operator @ vector
    with hessian(model, data, batch_size=batch_size) as operator:
        np.testing.assert_allclose(operator @ vector, reference, rtol=1e-10, atol=1e-14)


def test_a_quadratic_has_the_hessian_one() -> None:
    """L = mean ½‖w − x‖²: H = I at any w, g = w − mean x."""
    model, x = Quadratic(), torch.randn(9, 4, 2, dtype=torch.float64)
    with hessian(model, x, lambda model, batch: {"loss": model(batch)}) as operator:
        np.testing.assert_allclose(matrix(operator), np.eye(8), atol=1e-15)
        gradient = operator.gradient()
    np.testing.assert_allclose(gradient, (model.w.detach().double() - x.mean(0)).reshape(-1), atol=1e-15)


def test_linear_regression_has_the_design_matrix() -> None:
    """L = mean (xᵀw + b − y)²: H = 2/N XᵀX, X with a column of ones."""
    x, y = torch.randn(9, 4, dtype=torch.float64), torch.randn(9, 1, dtype=torch.float64)
    with hessian(nn.Linear(4, 1), (x, y), Supervised(LOSSES["mse"])) as operator:
        got = matrix(operator)
    design = np.column_stack([x.numpy(), np.ones(9)])
    np.testing.assert_allclose(got, 2 / 9 * design.T @ design, rtol=1e-12)


def test_a_loss_linear_in_the_weights_has_none() -> None:
    with hessian(nn.Linear(4, 1), torch.randn(6, 4), lambda m, b: {"loss": m(b)[:, 0]}) as operator:
        assert not matrix(operator).any()


def test_weights_of_the_examples_count() -> None:
    """Twice the weight is the same as being there twice."""
    x = torch.randn(4, 4, 2, dtype=torch.float64)
    model = nn.Linear(2, 1)

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return model(batch).exp().sum((1, 2))

    doubled = torch.cat([x, x[:2]])
    with hessian(model, doubled, lambda m, b: {"loss": loss(m, b)}) as operator:
        expected = matrix(operator)
    weight = torch.tensor([2.0, 2.0, 1.0, 1.0])
    with hessian(model, (x, weight), lambda m, b: {"loss": (loss(m, b[0]), b[1])}, batch_size=3) as operator:
        np.testing.assert_allclose(matrix(operator), expected, rtol=1e-12)


def test_curvature_along_a_direction() -> None:
    """dᵀHd is the second difference of the loss along d, and Σ λᵢ(vᵢ·d)² ([Li18] §6)."""
    torch.manual_seed(0)
    model, data = CASES["tanh"][:2]
    network = model()
    space = weight_space(network)
    direction = [torch.randn(entry.shape) for entry in space.entries]
    splits = {"train": from_object(data)}
    step = 1e-2
    with exact_evaluator(network, splits, CLASSES, space, [direction], dtype=torch.float64) as evaluator:
        losses = evaluator.evaluate(step * np.arange(-2.0, 3.0)[:, None]).values[:, 0]
        operator = Hessian(evaluator.net, moved_by([direction], space.entries), 5)
        evaluator.net.move([0.0])
        d = pack(direction, [True] * len(direction))
        curvature = d @ (operator @ d)
        values, vectors = np.linalg.eigh(matrix(operator))
    second = np.array([-1, 16, -30, 16, -1]) @ losses / (12 * step**2)
    assert curvature == pytest.approx(second, rel=1e-5)
    assert curvature == pytest.approx(float(values @ (vectors.T @ d) ** 2), rel=1e-10)


def test_what_random_directions_see_of_the_curvature() -> None:
    """Mean and variance of dᵀHd over the sphere, as docs/method.md has them: the mean eigenvalue, ever more surely."""
    model, data = CASES["tanh"][:2]
    torch.manual_seed(0)
    with hessian(model(), data) as operator:
        h = matrix(operator)
    n, draws = len(h), 40_000
    d = np.random.default_rng(0).standard_normal((draws, n))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    seen = np.einsum("ki,ij,kj->k", d, h, d, optimize=True)
    trace, square = np.trace(h), np.sum(h**2)
    variance = 2 * (square - trace**2 / n) / (n * (n + 2))
    assert seen.mean() == pytest.approx(trace / n, abs=5 * np.sqrt(variance / draws))
    assert seen.var() == pytest.approx(variance, rel=0.05)


def test_frozen_parameters_count_and_stay_frozen() -> None:
    model, data = conv_net(), images()
    expected = dense(model, data, "cross_entropy")
    model.requires_grad_(False)
    with hessian(model, data) as operator:
        np.testing.assert_allclose(matrix(operator), expected, rtol=1e-10, atol=1e-13)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_buffers_are_constants() -> None:
    """With space = "states" they move, but the Hessian is over parameters."""
    model, data = conv_net(), images()
    with hessian(model, data, space="states") as operator:
        assert operator.size == sum(p.numel() for p in model.parameters())
        np.testing.assert_allclose(
            matrix(operator), dense(model, data, "cross_entropy"), rtol=1e-10, atol=1e-13
        )


def test_no_gradient_is_an_error_and_nan_has_a_name() -> None:
    data = flat_data(4)
    detached = hessian(nn.Linear(4, 3), data, lambda m, b: {"loss": m(b[0]).detach().sum(1)})
    with detached as operator, pytest.raises(InputError, match="can be differentiated"):
        operator @ np.ones(operator.size)
    broken = nn.Linear(4, 3)
    nn.init.constant_(broken.weight, torch.inf)
    with hessian(broken, data) as operator, pytest.raises(NotFinite):
        operator @ np.ones(operator.size)
    with (
        pytest.raises(InputError, match="move no parameter"),
        hessian(nn.Linear(4, 3), data, moved=[False] * 2),
    ):
        pass


class Cramped(nn.Module):
    """No room for more than so many examples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.room = nn.Linear(4, 3), 5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.room:
            raise torch.cuda.OutOfMemoryError("no room")
        return self.inner(x)


def test_short_of_memory_the_batch_is_halved() -> None:
    model, data = Cramped(), flat_data(4)
    expected = dense(model.inner, data, "cross_entropy")
    with hessian(model, data, batch_size=11) as operator:
        assert operator.batch_size == 11
        np.testing.assert_allclose(matrix(operator), expected, rtol=1e-10, atol=1e-13)
    assert operator.batch_size == 5


def test_vectors_and_directions() -> None:
    entries = weight_space(conv_net()).entries
    moved = [entry.name.endswith("weight") for entry in entries]
    direction = [
        torch.randn(e.shape) if m else torch.zeros(e.shape) for e, m in zip(entries, moved, strict=True)
    ]
    assert moved_by([direction], entries) == moved
    back = unpack(pack(direction, moved), entries, moved)
    assert all(torch.equal(a, b) for a, b in zip(direction, back, strict=True))
