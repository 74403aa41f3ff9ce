"""Recalibrated BatchNorm statistics against a direct computation, and through a whole sweep."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import project
import pytest
import torch
import torch.nn.functional as F
from small_models import conv_net, images, live_in
from torch import nn

import lsweep
from lsweep import config, models
from lsweep.comm import SerialComm
from lsweep.data import from_object
from lsweep.engine import job
from lsweep.errors import ConfigError, DataError, IdentityError
from lsweep.models.batchnorm import Recalibration, with_statistics
from lsweep.models.parameters import weight_space

NET = """
import torch
from torch import nn

def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.9), nn.Linear(4, 3),
    )
"""


def two_norms() -> nn.Module:
    torch.manual_seed(1)
    return live_in(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 2), nn.BatchNorm2d(5), nn.Tanh(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
        )
    )  # fmt: skip


def forward(model: nn.Module, batch: Any) -> None:
    model(batch[0])


@torch.no_grad()
def direct(model: nn.Module, inputs: torch.Tensor, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Mean and variance of each BatchNorm's input, by hand in float64: of each batch, weighted by its size."""
    wide = copy.deepcopy(model).double()
    layers = with_statistics(wide)
    totals = [(torch.zeros(m.num_features).double(), torch.zeros(m.num_features).double()) for m in layers]
    for x in inputs.double().split(size):
        batch = len(x)
        seen = 0
        for module in wide:
            if module in layers:
                mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=True)
                totals[seen][0].add_(batch * mean)
                totals[seen][1].add_(batch * var)
                seen += 1
                x = F.batch_norm(x, None, None, module.weight, module.bias, training=True, eps=module.eps)
            else:
                x = module(x)
    return [(mean / len(inputs), var / len(inputs)) for mean, var in totals]


@pytest.mark.parametrize("size", [4, 5, 12, 100])
def test_equal_to_a_direct_computation(size: int) -> None:
    model, (inputs, labels) = two_norms().double(), images()
    inputs = inputs.double() * 3 + 1
    expected = direct(model, inputs, size)
    before = {n: v.clone() for n, v in model.named_parameters()}
    Recalibration(from_object((inputs, labels)), forward, size)(model)
    for layer, (mean, var) in zip(with_statistics(model), expected, strict=True):
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-10)
        assert not layer.training and layer.momentum == 0.1
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())


def test_what_was_before_does_not_matter() -> None:
    first, second = two_norms(), two_norms()
    for layer in with_statistics(second):
        layer.running_mean.fill_(1e9)
        layer.running_var.fill_(torch.nan)
    recalibrate = Recalibration(from_object(images()), forward, 5)
    for model in (first, second, second):
        recalibrate(model)
    for a, b in zip(with_statistics(first), with_statistics(second), strict=True):
        assert torch.equal(a.running_mean, b.running_mean) and torch.equal(a.running_var, b.running_var)


def test_one_batch_makes_its_statistics_the_networks() -> None:
    """Evaluation mode then is what training mode is, but for the variance's N/(N − 1)."""
    model, (inputs, labels) = two_norms().double(), images()
    Recalibration(from_object((inputs.double(), labels)), forward, 12)(model)
    layer = with_statistics(model)[0]
    x = model[0](inputs.double())
    count = x.numel() / 4
    np.testing.assert_allclose(
        layer.running_var * (count - 1) / count, x.var((0, 2, 3), unbiased=False).detach()
    )


def test_batches_of_one_example_are_left_out() -> None:
    """BatchNorm1d would refuse them."""
    model = live_in(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    x = torch.randn(9, 3)
    Recalibration(from_object(x), lambda m, b: m(b), 4)(model)
    found = with_statistics(model)[0].running_mean.clone()
    Recalibration(from_object(x[:8]), lambda m, b: m(b), 4)(model)
    assert torch.equal(found, with_statistics(model)[0].running_mean)
    with pytest.raises(DataError, match="two examples or more"):
        Recalibration(from_object(x[:1]), lambda m, b: m(b), 4)(model)


def test_layers_without_statistics_are_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.BatchNorm1d(3))
    assert with_statistics(model) == [model[1]]


def test_a_sweep_by_hand() -> None:
    """At each point: move a copy, recalibrate it, evaluate it; the lent model comes back as it was."""
    torch.manual_seed(0)
    model, data = conv_net(), images()
    direction = [torch.randn(e.shape) for e in weight_space(model).entries]
    before = {n: v.clone() for n, v in model.state_dict().items()}
    surface = lsweep.sweep(
        model,
        data,
        directions=[direction],
        grid={"x": {"min": -1.0, "max": 1.0, "num": 3}},
        device="cpu",
        batchnorm="recalibrate",
        recalibrate_examples=10,
    )
    assert surface is not None
    for alpha, loss in zip(surface.x, surface.loss, strict=True):
        there = copy.deepcopy(model)
        with torch.no_grad():
            for p, d in zip(there.parameters(), direction, strict=True):
                p += float(alpha) * d
            ((mean, var),) = direct(there, data[0][:10], 125)
            there[1].running_mean.copy_(mean)
            there[1].running_var.copy_(var)
            assert loss == pytest.approx(F.cross_entropy(there(data[0]), data[1]).item(), rel=1e-5)
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    assert model[1].momentum == 0.1 and not model.training
    fixed = lsweep.sweep(model, data, directions=[direction], grid={"x": {"num": 3}}, device="cpu")
    assert fixed is not None and not np.allclose(fixed.loss, surface.loss, rtol=1e-2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    project.write_npz(tmp_path / "train.npz")
    project.write_npz(tmp_path / "test.npz", images=10)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(**evaluate: Any) -> dict[str, Any]:
    return {
        "output": "out.h5",
        "model": {"source": "net.py:make_net"},
        "data": {"source": "npz", "path": "train.npz", "limit": 15},
        "grid": {"x": {"num": 5}},
        "evaluate": {"device": "cpu", **evaluate},
    }


RECALIBRATED = {"batchnorm": "recalibrate", "recalibrate_examples": 30}


def sweep(table: dict[str, Any], **options: Any) -> lsweep.Surface:
    job.sweep(config.from_table(table), SerialComm(), job.Options(**options))
    return lsweep.open(table["output"])


def test_resumed_with_the_same_bits(here: Path) -> None:
    """Whatever point came before; and what the statistics are estimated from belongs to the sweep."""
    whole = sweep(table(**RECALIBRATED) | {"output": "whole.h5"})
    assert not sweep(table(**RECALIBRATED), max_points=2).complete
    assert sweep(table(**RECALIBRATED)).loss.tobytes() == whole.loss.tobytes()
    for other in ({}, RECALIBRATED | {"recalibrate_examples": 20}):
        with pytest.raises(IdentityError):
            sweep(table(**other))


def test_the_train_split_beyond_its_limit(here: Path) -> None:
    """30 images of the train split, though the loss is over 15, and though the test split comes first."""
    both = table(**RECALIBRATED)
    both["data"] |= {"split": ["test", "train"], "path": "test.npz", "test_path": "train.npz"}
    other = sweep(both | {"output": "both.h5"})
    plain = sweep(table(**RECALIBRATED))
    assert other.metrics["loss_train"].tobytes() == plain.loss.tobytes()
    few = sweep(table(**RECALIBRATED | {"recalibrate_examples": 15}) | {"output": "few.h5"})
    assert (few.loss != plain.loss).all()


@pytest.mark.slow
def test_with_curvature(here: Path) -> None:
    """The Hessian at recalibrated statistics is that of the network as it then is."""
    surface = sweep(table(**RECALIBRATED, metrics=["hessian"]))
    plain = sweep(table(**RECALIBRATED) | {"output": "plain.h5"})
    assert surface.loss.tobytes() == plain.loss.tobytes()
    fixed = sweep(table(metrics=["hessian"]) | {"output": "fixed.h5"})
    assert np.isfinite(surface.metrics["eig_max"]).all()
    assert (np.abs(surface.metrics["eig_max"] / fixed.metrics["eig_max"] - 1) > 1e-3).all()


def test_with_a_subset_and_with_any_precision(here: Path) -> None:
    """Where an estimate takes all examples it is the loss; lower precisions are not tried."""
    plain = sweep(table(**RECALIBRATED))
    estimated = sweep(table(**RECALIBRATED, relative_error=1e-3) | {"output": "estimated.h5"})
    np.testing.assert_allclose(estimated.loss, plain.loss, rtol=1e-6)
    assert (estimated.columns["examples"] == 15).all()
    fastest = sweep(table(**RECALIBRATED, precision="auto") | {"output": "auto.h5"})
    assert fastest.loss.tobytes() == plain.loss.tobytes() and "precision" not in fastest.columns


REFUSED = {
    "states": ({"directions": {"space": "states"}}, RECALIBRATED, "choose one of the two"),
    "test only": (
        {"data": {"source": "npz", "path": "test.npz", "split": "test"}},
        RECALIBRATED,
        'add "train"',
    ),
    "no BatchNorm": ({"model": {"source": "plain.py:make_net"}}, RECALIBRATED, "no BatchNorm with running"),
    "bf16": ({}, RECALIBRATED | {"precision": "bf16"}, "set fp32"),
    "together": ({}, RECALIBRATED | {"points_at_once": 3}, "points_at_once = 3 cannot be combined with"),
    "one": ({}, RECALIBRATED | {"recalibrate_examples": 1}, "must be >= 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, here: Path) -> None:
    (here / "plain.py").write_text(project.NET)
    changes, evaluate, said = REFUSED[name]
    with pytest.raises(ConfigError, match=said):
        sweep(table(**evaluate) | changes)
    assert not (here / "out.h5").exists()


@pytest.mark.parametrize(
    ("space", "batchnorm", "warned"),
    [("weights", "fixed", True), ("states", "fixed", False), ("weights", "recalibrate", False)],
)
def test_an_interpolation_with_fixed_statistics_is_warned_of(
    space: str, batchnorm: str, warned: bool, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(live_in(models.build("net.py:make_net")).state_dict(), "other.pt")
    directions = {"kind": "interpolate", "to": "other.pt", "space": space}
    with caplog.at_level(logging.WARNING, "lsweep"):
        sweep(table(batchnorm=batchnorm) | {"directions": directions})
    said = [r.getMessage() for r in caplog.records if "BatchNorm statistics" in r.getMessage()]
    assert len(said) == warned
    assert all('"recalibrate"' in text and '"states"' in text and "\n" not in text for text in said)


@pytest.mark.slow
def test_the_line_between_two_resnet20(shared: Path, tmp_path: Path) -> None:
    """Fixed statistics explode to 8e11 at the other end; recalibrated: two low ends and a barrier between them."""
    weights = shared / "weights/resnet20"
    made = {
        "output": str(tmp_path / "line.h5"),
        "model": {"source": "resnet20_a", "weights": str(weights / "a.th")},
        "data": {
            "source": "npz",
            "path": str(shared / "data/cifar10/train_1.npz"),
            "limit": 200,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "directions": {"kind": "interpolate", "to": str(weights / "b.th")},
        "grid": {"x": {"min": 0.0, "max": 1.0, "num": 11}},
        "evaluate": {"device": "cpu", "batchnorm": "recalibrate", "recalibrate_examples": 200},
    }
    surface = sweep(made)
    assert np.isfinite(surface.loss).all()
    ends = max(surface.loss[0], surface.loss[-1])
    assert ends < 0.3 and surface.accuracy[[0, -1]].min() > 0.9
    assert surface.loss.argmax() not in (0, 10) and surface.loss.max() > 5 * ends
