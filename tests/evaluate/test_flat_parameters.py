"""Sweeps leave the caller's generators alone, and the caller's modes leave sweeps alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from small_models import conv_net, images
from torch.utils.data import DataLoader, TensorDataset

import lsweep
from lsweep.comm import SerialComm
from lsweep.evaluate.flat_parameters import isolated

GRID = {"x": {"num": 3}}


def swept(model: Any, data: Any, **settings: Any) -> lsweep.Surface:
    surface = lsweep.sweep(model, data, grid=GRID, comm=SerialComm(), device="cpu", **settings)
    assert surface is not None
    return surface


def states() -> tuple[Any, ...]:
    legacy = np.random.get_state()
    return random.getstate(), legacy[1].tolist(), legacy[2], torch.get_rng_state().tolist()


def test_the_generators_are_where_they_were() -> None:
    before = states()
    with isolated():
        random.random(), np.random.rand(), torch.rand(1)
        assert states() != before
    assert states() == before


def test_also_after_an_error() -> None:
    before = states()
    with pytest.raises(ValueError, match="mine"), isolated():
        torch.rand(1)
        raise ValueError("mine")
    assert states() == before


def test_a_loader_that_draws() -> None:
    """Iterating a DataLoader takes a seed from torch's generator, shuffled or not."""
    x, y = images()
    noisy = DataLoader(
        TensorDataset(x, y),
        batch_size=4,
        shuffle=True,
        collate_fn=lambda examples: torch.utils.data.default_collate(
            [(image + 0 * random.random() + 0 * float(np.random.rand()), label) for image, label in examples]
        ),
    )
    model, before = conv_net(), states()
    before = states()
    swept(model, noisy)
    assert states() == before


def test_autocast_has_no_say() -> None:
    model, data = conv_net(), images()
    plain = swept(model, data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(swept(model, data).loss, plain.loss)
        assert model(data[0]).dtype == torch.bfloat16  # and is on again


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_hessian_within_a_validation(mode: Any) -> None:
    model, data = conv_net(), images()
    plain = swept(model, data, hessian=True)
    with mode():
        within = swept(model, data, hessian=True)
        assert not torch.is_grad_enabled()
    assert np.array_equal(within.loss, plain.loss)
    assert np.array_equal(within.curvature["eig_max"], plain.curvature["eig_max"])
    assert np.isfinite(plain.curvature["eig_max"]).all()
    model(data[0]).sum().backward()  # its weights can still be trained
