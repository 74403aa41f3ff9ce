"""Losses against closed forms, and what an objective refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from lsweep.config import EvaluateConfig
from lsweep.data import from_object
from lsweep.errors import ConfigError, DataError, InputError
from lsweep.evaluate import objective
from lsweep.evaluate.objective import (
    Supervised,
    accuracy,
    check_labels,
    cross_entropy,
    from_config,
    mse,
    mse_softmax,
)

SCORES = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [5.0, -5.0, 0.0]])
LABELS = torch.tensor([1, 0, 2])


def test_cross_entropy() -> None:
    expected = [
        math.log(sum(math.exp(s) for s in row)) - row[t]
        for row, t in zip(SCORES.tolist(), LABELS, strict=True)
    ]
    torch.testing.assert_close(cross_entropy(SCORES, LABELS), torch.tensor(expected))


def test_cross_entropy_of_probabilities() -> None:
    hard = nn.functional.one_hot(LABELS, 3).float()
    torch.testing.assert_close(cross_entropy(SCORES, hard), cross_entropy(SCORES, LABELS))
    uniform = torch.full((1, 3), 1 / 3)
    torch.testing.assert_close(cross_entropy(torch.zeros(1, 3), uniform), torch.tensor([math.log(3)]))


def test_per_position_losses_are_averaged() -> None:
    scores, labels = SCORES.t()[None], LABELS[None]  # one example of three positions
    torch.testing.assert_close(cross_entropy(scores, labels), cross_entropy(SCORES, LABELS).mean()[None])
    torch.testing.assert_close(accuracy(scores, labels), torch.tensor([1 / 3 * 2]))


def test_mse() -> None:
    output, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [1.0, 1.0]])
    assert mse(output, target).tolist() == [2.5, 1.0]
    assert mse(output, target.long()).tolist() == [2.5, 1.0]


@pytest.mark.parametrize("output", [torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [2.0]])])
def test_mse_of_one_number_per_example(output: torch.Tensor) -> None:
    assert mse(output, torch.tensor([3.0, 2.0])).tolist() == [4.0, 0.0]


def test_mse_does_not_broadcast() -> None:
    with pytest.raises(DataError, match=r"\(3, 3\) and \(3,\); for classes use \"mse_softmax\""):
        mse(SCORES, LABELS)
    with pytest.raises(DataError):
        mse(torch.ones(3), torch.ones(3, 1))


def test_mse_softmax() -> None:
    got = mse_softmax(torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]), torch.tensor([0, 1]))
    torch.testing.assert_close(got, torch.tensor([0.25, 0.5625]))


@pytest.mark.parametrize("target", [torch.tensor([0.0, 1.0, 1.0]), torch.eye(3), torch.zeros(3, 3).long()])
def test_mse_softmax_wants_classes(target: torch.Tensor) -> None:
    with pytest.raises(DataError, match="mse_softmax"):
        mse_softmax(SCORES, target)


def test_accuracy() -> None:
    assert accuracy(SCORES, LABELS).tolist() == [1, 1, 0]
    assert accuracy(torch.full((2, 3), torch.nan), torch.tensor([0, 1])).tolist() == [1, 0]


def test_supervised_names() -> None:
    metrics = {"margin": lambda output, target: output.max(dim=1).values}
    measured = Supervised(cross_entropy, metrics)(nn.Identity(), (SCORES, LABELS))
    assert list(measured) == ["loss", "accuracy", "margin"]
    assert measured["margin"][0].tolist() == [2, 0, 5]


@pytest.mark.parametrize("target", [torch.eye(3), torch.tensor([[True] * 3] * 3)])
def test_no_accuracy_without_classes(target: torch.Tensor) -> None:
    assert "accuracy" not in Supervised(lambda o, t: o.sum(1))(nn.Identity(), (SCORES, target))


def test_no_accuracy_of_one_output() -> None:
    binary = Supervised(lambda o, t: nn.functional.softplus(o[:, 0]))
    assert list(binary(nn.Identity(), (SCORES[:, :1], LABELS))) == ["loss"]
    with pytest.raises(DataError, match="an output per class"):
        Supervised(cross_entropy)(nn.Identity(), (SCORES[:, :1], LABELS))


@pytest.mark.parametrize("batch", [SCORES, {"x": SCORES}, (SCORES,), (SCORES, [1, 0, 2]), [1, 2, 3]])
def test_other_batches_want_an_objective(batch: object) -> None:
    with pytest.raises(DataError, match="write an objective"):
        Supervised(cross_entropy)(nn.Identity(), batch)


def test_a_network_that_returns_no_tensor() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(InputError, match="returns tuple, not a tensor; write an objective"):
        Supervised(cross_entropy)(Two(), (SCORES, LABELS))


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("def f(output, target):\n    return output.sum(1)\n\nnumber = 3\n")


@pytest.mark.usefixtures("functions")
def test_from_config_with_the_user_s_functions() -> None:
    config = EvaluateConfig(loss="own.py:f", metrics=("total = own.py:f", "again=own.py:f"))
    measured = from_config(config)(nn.Identity(), (SCORES, LABELS))
    assert list(measured) == ["loss", "accuracy", "total", "again"]
    assert measured["loss"][0].tolist() == measured["again"][0].tolist() == [3, 0, 0]
    assert from_config(EvaluateConfig(objective="own.py:f"))(torch.ones(1, 2), None).tolist() == [2]


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("settings", "key", "said"),
    [
        ({"loss": "cross_entrpy"}, "evaluate.loss", "did you mean 'cross_entropy'"),
        ({"loss": "xyzzy"}, "evaluate.loss", "valid: cross_entropy, mse, mse_softmax"),
        ({"loss": "own.py:g"}, "evaluate.loss", "no 'g' in it"),
        ({"loss": "own.py:number"}, "evaluate.loss", "not a function but int"),
        ({"loss": "none.py:f"}, "evaluate.loss", "cannot read 'none.py'"),
        ({"metrics": ("top5",)}, "evaluate.metrics", "unknown metric 'top5'; loss and accuracy are always"),
        ({"metrics": ("loss = own.py:f",)}, "evaluate.metrics", "'loss' exists already"),
        (
            {"metrics": ("a = own.py:f",), "objective": "own.py:f"},
            "evaluate.metrics",
            "returns its own metrics",
        ),
        ({"objective": "own.py:number"}, "evaluate.objective", "not a function"),
    ],
)
def test_from_config_refuses(settings: dict[str, object], key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_config(EvaluateConfig(**settings))
    assert caught.value.key == key and said in str(caught.value)


@pytest.mark.usefixtures("functions")
def test_a_metric_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        from_config(EvaluateConfig(metrics=("a = own.py:f", "a = own.py:f")))


def labels_of(*labels: int) -> object:
    return from_object((torch.randn(len(labels), 4), torch.tensor(labels)))


@pytest.mark.parametrize(
    ("labels", "span"), [((0, 1, 2, 3), "0 to 3"), ((0, 0, -1), "-1 to 0"), ((9, 0), "0 to 9")]
)
def test_labels_outside_the_outputs(labels: tuple[int, ...], span: str) -> None:
    with pytest.raises(DataError, match=rf"labels run from {span}, but the network has 3 outputs"):
        check_labels(nn.Linear(4, 3), labels_of(*labels), 2)


def test_labels_inside_the_outputs_and_regression() -> None:
    check_labels(nn.Linear(4, 3), labels_of(0, 2), 2)
    check_labels(nn.Linear(4, 1), labels_of(0, 7), 2)
    check_labels(nn.Linear(4, 2), from_object((torch.randn(3, 4), torch.randn(3, 2))), 2)


def test_data_that_the_network_cannot_take() -> None:
    with pytest.raises(DataError, match=r"cannot take a batch of this data, input \(2, 4\): RuntimeError"):
        check_labels(nn.Linear(5, 3), labels_of(0, 1), 2)


def test_every_loss_is_listed() -> None:
    assert set(objective.LOSSES) == {"cross_entropy", "mse", "mse_softmax"}
