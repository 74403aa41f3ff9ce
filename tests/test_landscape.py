"""`lsweep.Landscape` in a training: the right files, and a training that never knew."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import conv_net, images
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lsweep
from lsweep.errors import ConfigError, DataError, IdentityError
from lsweep.landscape import unwrapped

GRID = {"x": {"num": 3}, "y": {"num": 2}}
DATA = images(24)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*conv_net()[:-1], nn.Dropout(0.3), nn.Linear(4, 3)).train()


def trained(epochs: int, landscape: Any = None) -> tuple[nn.Module, torch.optim.Optimizer, float]:
    """With dropout, a shuffled loader, BatchNorm, momentum, noise from two more generators: what could be disturbed."""
    model = network()
    random.seed(1), np.random.seed(1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(TensorDataset(*DATA), batch_size=7, shuffle=True)
    drawn = 0.0
    for epoch in range(1, epochs + 1):
        for x, y in loader:
            optimiser.zero_grad()
            F.cross_entropy(model(x + random.gauss(0, 0.1) + np.random.normal()), y).backward()
            optimiser.step()
        if landscape is not None:
            gradients = [p.grad for p in model.parameters()]
            values = [g.clone() for g in gradients]
            landscape(epoch, model)
            for p, same, value in zip(model.parameters(), gradients, values, strict=True):
                assert p.grad is same and torch.equal(same, value)
            assert all(module.training for module in model.modules())
        drawn += random.random() + np.random.rand() + torch.rand(1).item()
    return model, optimiser, drawn


def test_the_training_never_knew(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(*DATA), batch_size=5, collate_fn=torch.utils.data.default_collate)
    landscape = lsweep.Landscape(loader, every=2, folder=tmp_path / "l", grid=GRID, hessian=True)
    plain, optimiser, drawn = trained(5)
    watched, other, also_drawn = trained(5, landscape)
    assert drawn == also_drawn
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    for mine, theirs in zip(optimiser.state.values(), other.state.values(), strict=True):
        assert torch.equal(mine["momentum_buffer"], theirs["momentum_buffer"])
    assert sorted(p.name for p in (tmp_path / "l").iterdir()) == ["epoch_0002.h5", "epoch_0004.h5"]


def test_each_file_is_a_sweep_of_the_weights_of_its_epoch(tmp_path: Path) -> None:
    landscape = lsweep.Landscape(DATA, every=3, folder=tmp_path, grid=GRID, directions={"seed": 5})
    for epoch in range(4):
        model, *_ = trained(epoch)
        found = landscape(epoch, model)
        assert (found is None) == (epoch in (1, 2))
        if found is not None:
            by_hand = lsweep.sweep(model, DATA, grid=GRID, directions={"seed": 5}, device="cpu")
            assert np.array_equal(lsweep.open(landscape.path(epoch)).loss, by_hand.loss)
    assert not np.array_equal(*(lsweep.open(landscape.path(epoch)).loss for epoch in (0, 3)))


def test_limit_and_test_data(tmp_path: Path) -> None:
    surface = lsweep.Landscape(DATA, folder=tmp_path, limit=8, test_data=images(12), grid=GRID)(1, network())
    first = tuple(part[:8] for part in DATA), tuple(part[:8] for part in images(12))
    by_hand = lsweep.sweep(network(), first[0], test_data=first[1], grid=GRID, device="cpu")
    for name in ("loss", "loss_test"):
        assert np.array_equal(surface.metrics[name], by_hand.metrics[name])


def test_a_certificate_of_every_file(tmp_path: Path) -> None:
    """The first call, which keeps nothing, makes none."""
    landscape = lsweep.Landscape(DATA, every=2, folder=tmp_path, grid=GRID, certificate=2)
    model, *_ = trained(1)
    assert landscape(1, model) is None
    surface = landscape(2, model)
    assert surface is not None and surface.certificate is not None and len(surface.certificate) == 2


def test_a_training_that_goes_on_and_one_that_begins_anew(tmp_path: Path) -> None:
    landscape = lsweep.Landscape(DATA, folder=tmp_path, grid=GRID)
    model, *_ = trained(1)
    first = landscape(1, model)
    assert np.array_equal(landscape(1, model).seconds, first.seconds)  # read, not evaluated again
    with pytest.raises(IdentityError, match="weights"):
        landscape(1, conv_net())


def test_a_diverged_network_is_a_result(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    surface = lsweep.Landscape(DATA, folder=tmp_path, grid=GRID)(1, model)
    assert surface.complete and np.isnan(surface.loss).all()


def test_what_does_not_fit_stops_the_first_epoch(tmp_path: Path) -> None:
    landscape = lsweep.Landscape(images(8, classes=9), every=5, folder=tmp_path, grid=GRID)
    with pytest.raises(DataError, match="3 outputs"):
        landscape(1, network())
    assert landscape(2, network()) is None and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"every": 0}, "whole number >= 1, got 0"),
        ({"every": 2.5}, "got 2.5"),
        ({"gird": 5}, "no setting 'gird' .did you mean 'grid'"),
        ({"output": "o.h5"}, "no setting 'output'"),
        ({"grid": 0}, "num >= 1"),
        ({"limit": 0}, "limit must be >= 1"),
    ],
)
def test_refusals_before_the_training(settings: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, DataError), match=said):
        lsweep.Landscape(DATA, **settings)


def test_wrapped_networks_are_unwrapped(tmp_path: Path) -> None:
    inner = network()

    class Compiled(nn.Module):  # as torch.compile's, without importing the compiler
        def __init__(self) -> None:
            super().__init__()
            self._orig_mod = nn.DataParallel(inner)

    assert unwrapped(Compiled()) is inner and unwrapped(inner) is inner
    surface = lsweep.Landscape(DATA, folder=tmp_path, grid=GRID)(1, Compiled())
    assert np.array_equal(
        surface.loss, lsweep.sweep(copy.deepcopy(inner), DATA, grid=GRID, device="cpu").loss
    )
