"""Chance in evaluation mode is refused, and named; what a GPU rounds otherwise the second time is not chance."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lsweep.errors import ModelError
from lsweep.evaluate import determinism
from lsweep.evaluate.determinism import ROUNDING, differs_by_rounding, repeats, require_deterministic

Noise = Callable[[torch.Tensor], torch.Tensor]


class Noisy(nn.Module):
    """Adds to its input what a function makes of it, another one each time."""

    def __init__(self, noise: Noise) -> None:
        super().__init__()
        self.inner = nn.Identity()
        self.noise = noise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.noise(x)


TURNS = itertools.cycle([0.0, 1e-6])


def rounds(x: torch.Tensor) -> torch.Tensor:
    return x * next(TURNS)


def measured(model: nn.Module) -> dict[str, tuple[torch.Tensor, None]]:
    return {"loss": (model(torch.arange(5.0)), None)}


def test_a_function_is_one() -> None:
    model = Noisy(torch.zeros_like)
    assert torch.equal(
        require_deterministic(model, lambda: measured(model))["loss"][0], measured(model)["loss"][0]
    )


@pytest.mark.parametrize("noise", [rounds, torch.rand_like], ids=["little", "much"])
def test_on_a_cpu_any_chance_is_refused(noise: Noise) -> None:
    model = nn.Sequential(nn.Identity(), Noisy(noise))
    with pytest.raises(ModelError, match=r"1 \(Noisy\) is random in evaluation mode"):
        require_deterministic(model, lambda: measured(model))


def test_on_a_gpu_rounding_is_warned_of_and_chance_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(determinism, "_is_of_gpu", lambda result: True)
    determinism.warn_once.cache_clear()
    model = Noisy(rounds)
    found = require_deterministic(model, lambda: measured(model))
    torch.testing.assert_close(found["loss"][0], torch.arange(5.0), rtol=1e-5, atol=0)
    assert "differ by rounding" in caplog.text
    model = Noisy(torch.rand_like)
    with pytest.raises(ModelError, match="is random"):
        require_deterministic(model, lambda: measured(model))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ([1.0, 200.0], [1.0 + 100 * ROUNDING, 200.0], True),
        ([1.0, 200.0], [1.0, 200.0 + 300 * ROUNDING], False),
        ([float("nan"), 1.0], [float("nan"), 1.0], True),
        ([float("nan"), 1.0], [0.0, 1.0], False),
        ([float("inf"), 1.0], [float("inf"), 1.0], True),
        ([0.0, 1e-3], [1e-5, 1e-3], True),
        ([0.0, 1e-3], [1e-3, 1e-3], False),
        ([1.0], [1.0, 1.0], False),
    ],
)
def test_what_rounding_is(one: list[float], other: list[float], alike: bool) -> None:
    pair = ({"loss": (torch.tensor(values), None)} for values in (one, other))
    assert differs_by_rounding(*pair) == alike


def test_where_scores_tie_an_accuracy_may_flip() -> None:
    one, other = ({"loss": torch.ones(2), "accuracy": torch.tensor([value, 1.0])} for value in (0.0, 1.0))
    assert differs_by_rounding(one, other)


def test_repeats() -> None:
    model = Noisy(torch.zeros_like)
    assert repeats(lambda: measured(model))
    model = Noisy(rounds)
    assert not repeats(lambda: measured(model))
