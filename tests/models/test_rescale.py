"""Rescaled networks compute the same; which surfaces see it and which do not ([Li18] §3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import live_in
from torch import nn
from torch.func import functional_call

from lsweep import directions, models
from lsweep.errors import ModelError
from lsweep.models.parameters import tensors_of, weight_space
from lsweep.models.rescale import Pair, draw, pairs, rescaled

ALPHAS = (-1.0, -0.4, 0.3, 1.0)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 10_000)


class Functional(nn.Module):
    """The same layers by functions, with a view that asks for the shape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4 * 2 * 2, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 2, ceil_mode=True)
        x = F.adaptive_avg_pool2d(x, 2)
        return self.out(F.leaky_relu(self.fc(x.view(x.size(0), -1)), 0.1))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(90, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)
    )


def normed() -> nn.Module:
    return live_in(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 2, bias=False),
            nn.BatchNorm2d(5, eps=1e-2),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3),
        )
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[tuple[str, str, str]]]] = {
    "mlp": (mlp, [("relu", "1", "3"), ("relu", "3", "5")]),
    "functional": (Functional, [("relu", "conv", "fc"), ("relu", "fc", "out")]),
    "BatchNorm": (normed, [("batchnorm", "0", "1"), ("batchnorm", "3", "4"), ("relu", "8", "11")]),
}


def network(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return NETWORKS[name][0]().double().eval()


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(8, 3, 6, 5, generator=rng).double(), torch.randint(3, (8,), generator=rng)


def twin(model: nn.Module, seed: int, per: str) -> nn.Module:
    return rescaled(model, draw(pairs(model), torch.Generator().manual_seed(seed), per=per))  # type: ignore[arg-type]


def line(model: nn.Module, seed: int, normalize: str) -> np.ndarray:
    """The loss at ALPHAS along the direction of that seed."""
    space = weight_space(model)
    theta = tensors_of(model, space)
    drawn = directions.random(space, torch.Generator().manual_seed(seed))
    direction = directions.normalize(drawn, theta, space, normalize, "zero")
    x, y = inputs()
    found = []
    for alpha in ALPHAS:
        moved = {e.name: w + alpha * d for e, w, d in zip(space.entries, theta, direction, strict=True)}
        with torch.no_grad():
            found.append(F.cross_entropy(functional_call(model, moved, (x,)), y).item())
    return np.array(found)


@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_are_found(name: str) -> None:
    assert [(p.kind, p.first, p.second) for p in pairs(network(name, 0))] == NETWORKS[name][1]


def test_pairs_of_a_residual_network_lie_within_its_blocks() -> None:
    model = models.build("resnet20")
    found = pairs(model)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [p.kind for p in found] == ["batchnorm"] * len(convolutions)
    model = live_in(model).double()
    x = torch.randn(2, 3, 32, 32).double()
    with torch.no_grad():
        torch.testing.assert_close(twin(model, 0, "layer")(x), model(x), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("per", ["layer", "unit"])
@pytest.mark.parametrize("name", NETWORKS)
@FEW
@given(seed=SEEDS)
def test_the_function_is_unchanged(name: str, per: str, seed: int) -> None:
    model = network(name, seed)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    other = twin(model, seed, per)
    x, _ = inputs(seed)
    with torch.no_grad():
        torch.testing.assert_close(other(x), model(x), rtol=1e-9, atol=1e-11)
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    for pair in pairs(model):
        assert not torch.allclose(
            other.get_submodule(pair.first).weight, model.get_submodule(pair.first).weight
        )


@pytest.mark.parametrize("name", NETWORKS)
@FEW
@given(seed=SEEDS)
def test_filter_normalised_surfaces_are_the_same_for_layers_and_before_batchnorm(
    name: str, seed: int
) -> None:
    model = network(name, seed)
    np.testing.assert_allclose(
        line(twin(model, seed, "layer"), seed, "filter"), line(model, seed, "filter"), rtol=1e-4
    )


@pytest.mark.parametrize("name", NETWORKS)
@FEW
@given(seed=SEEDS)
def test_unnormalised_surfaces_differ(name: str, seed: int) -> None:
    """All factors but one are 1: it alone is enough."""
    model = network(name, seed)
    other = rescaled(model, {pairs(model)[seed % len(pairs(model))]: 4.0})
    assert np.abs(line(other, seed, "none") / line(model, seed, "none") - 1).max() > 1e-3


@pytest.mark.parametrize("name", ["mlp", "functional"])
@FEW
@given(seed=SEEDS)
def test_unequal_factors_of_relu_units_change_filter_normalised_surfaces(name: str, seed: int) -> None:
    """The limit of filter normalisation: the columns of the next layer's filters are scaled unequally."""
    model = network(name, seed)
    other = twin(model, seed, "unit")
    assert np.abs(line(other, seed, "filter") / line(model, seed, "filter") - 1).max() > 1e-3


def test_layer_normalisation_sees_filters_before_batchnorm() -> None:
    """Layer normalisation follows one factor a layer, not one a filter."""
    model = network("BatchNorm", 1)
    other = twin(model, 1, "layer")
    assert np.abs(line(other, 1, "layer") / line(model, 1, "layer") - 1).max() > 1e-3


def test_what_cannot_be_done() -> None:
    model = network("BatchNorm", 0)
    pair, _, relu = pairs(model)
    for wrong in (0.0, -1.0, float("inf"), torch.ones(3)):
        with pytest.raises(ModelError, match="must be positive"):
            rescaled(model, {relu: wrong})
    with pytest.raises(ModelError, match="too small for the eps"):
        rescaled(model, {pair: 1e-4})
    with pytest.raises(ModelError, match="cannot come from"):
        rescaled(model, {Pair("relu", "0", "8", 4): 2.0})

    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match="cannot trace"):
        pairs(Branching())


def test_shared_layers_and_other_activations_have_no_pair() -> None:
    layer = nn.Linear(4, 4)
    assert pairs(nn.Sequential(layer, nn.ReLU(), layer)) == []
    assert pairs(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))) == []
    assert pairs(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))) == []
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    assert pairs(tied) == []
