"""Perceptrons at several points at once: found where they are, the same values as one by one, ties and NaN included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lsweep.data import from_object
from lsweep.evaluate import objective
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.mlp import cross_entropy_and_accuracy, perceptron
from lsweep.evaluate.objective import PerExample, Supervised
from lsweep.evaluate.vectorized import VectorizedEvaluator, vectorize
from lsweep.models.parameters import weight_space

POINTS = np.random.default_rng(0).uniform(-1, 1, (7, 2))
IMAGES = torch.randn(11, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGET = torch.arange(11) % 4


class Written(nn.Module):
    """A perceptron by hand, with functions, methods, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = nn.Linear(6, 5), nn.Linear(5, 5, bias=False)
        self.last = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.first(torch.flatten(x, 1)))
        return self.last(self.middle(self.middle(x).tanh()))


class Residual(Written):
    """No chain: the first layer's output is used twice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.first(x.flatten(1)))
        return self.last(x + self.middle(x))


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), *layers, nn.Linear(5, 4))


def hooked() -> nn.Module:
    model = chain(nn.ReLU())
    model[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


FOUND: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: chain(nn.ReLU()),
    "deep": lambda: chain(nn.Tanh(), nn.Dropout(), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 5, bias=False)),
    "one layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 4)),
    "nested": lambda: nn.Sequential(chain(nn.Sigmoid(), nn.Linear(5, 5)), nn.Identity()),
    "written": Written,
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "batchnorm": lambda: chain(nn.BatchNorm1d(5)),
    "residual": Residual,
    "activation first": lambda: nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(6, 4)),
    "rows": lambda: nn.Sequential(nn.Linear(3, 2), nn.Flatten(), nn.Linear(4, 4)),
    "hooked": hooked,
}


def both(
    model: nn.Module, loss: PerExample = objective.cross_entropy
) -> tuple[ExactEvaluator, VectorizedEvaluator, np.ndarray, np.ndarray]:
    """The two evaluators, and what they say."""
    rng = torch.Generator().manual_seed(1)
    directions = [[torch.randn(p.shape, generator=rng) for p in model.parameters()] for _ in range(2)]
    data = {"train": from_object((IMAGES, TARGET)), "test": from_object((IMAGES[:3], TARGET[:3]))}
    space = weight_space(model)
    with exact_evaluator(
        model, data, Supervised(loss), space, directions, dtype=torch.float64, batch_size=4
    ) as evaluator:
        joint = vectorize(evaluator)
        return evaluator, joint, evaluator.evaluate(POINTS).values, joint.evaluate(POINTS).values


@pytest.mark.parametrize("name", [*FOUND, *OTHERS])
@pytest.mark.parametrize("loss", [objective.cross_entropy, objective.mse_softmax])
def test_the_same_values_as_one_by_one(name: str, loss: PerExample) -> None:
    torch.manual_seed(0)
    _, joint, single, together = both(({**FOUND, **OTHERS})[name](), loss)
    assert (joint._perceptron is not None) == (name in FOUND)
    np.testing.assert_allclose(together, single, rtol=1e-11)


def test_what_the_first_layer_makes_is_kept_only_where_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    _, joint, _, kept = both(chain(nn.ReLU()))
    assert {split for split, _ in joint._known} == {"train", "test"}
    monkeypatch.setattr("lsweep.evaluate.vectorized.MOST_KNOWN", 10)
    torch.manual_seed(0)
    _, joint, _, anew = both(chain(nn.ReLU()))
    assert not joint._known
    assert np.array_equal(kept, anew)


@pytest.mark.parametrize("keeps", [True, False])
def test_the_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch, keeps: bool) -> None:
    if not keeps:
        monkeypatch.setattr("lsweep.evaluate.vectorized.MOST_KNOWN", 10)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.manual_seed(0)
            torch.set_num_threads(threads)
            _, joint, _, together = both(chain(nn.ReLU()))
            assert joint._threaded
            assert torch.get_num_threads() == threads
            found.append(together.tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(set(found)) == 1


def test_a_loss_of_the_users_own_runs_in_one_thread() -> None:
    _, joint, _, _ = both(chain(nn.ReLU()), lambda output, target: objective.cross_entropy(output, target))
    assert joint._perceptron is not None
    assert not joint._threaded


def test_inputs_that_are_no_numbers_are_no_perceptrons() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    data = {"train": from_object((torch.randn(5, 3), torch.arange(5) % 2))}
    with exact_evaluator(
        model, data, Supervised(objective.cross_entropy), weight_space(model), []
    ) as evaluator:
        assert perceptron(evaluator.net, torch.randn(1, 3)) is not None
        for inputs in (torch.arange(3)[None], {"x": torch.randn(1, 3)}, torch.randn(1, 2, 3)):
            assert perceptron(evaluator.net, inputs) is None


SCORES = {
    "distinct": torch.randn(6, 4),
    "all the same": torch.zeros(6, 4),
    "two share the first place": torch.tensor([[1.0, 3.0, 3.0, 2.0]]).expand(6, 4),
    "far apart": torch.randn(6, 4) * 1e4,
    "infinite": torch.tensor([[1.0, torch.inf, 0.0, 2.0], [-torch.inf, 0.0, 1.0, 2.0]]).repeat(3, 1),
    "not a number": torch.tensor([[1.0, torch.nan, 0.0, 2.0], [torch.nan, 0.0, torch.nan, 2.0]]).repeat(3, 1),
    "two infinite": torch.tensor([[torch.inf, 0.0, torch.inf, 2.0]]).expand(6, 4),
    "undecided": 1e-3 * torch.randn(6, 4),
}


@pytest.mark.parametrize("name", SCORES)
def test_loss_and_accuracy_are_those_of_the_objective(name: str) -> None:
    scores, target = SCORES[name], torch.tensor([0, 1, 2, 3, 1, 2])
    output = torch.stack([scores, scores.flip(0), -scores]).transpose(1, 2).contiguous()
    loss, right = cross_entropy_and_accuracy(output.clone(), target)
    for index in range(3):
        rows = output[index].t()
        expected = objective.cross_entropy(rows, target)
        np.testing.assert_allclose(loss[index], expected, rtol=1e-5, atol=1e-6)
        assert right[index].float().tolist() == objective.accuracy(rows, target).tolist()
