"""Extreme eigenvalues at the points of a sweep against the dense Hessian there, through the whole engine."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import project
import pytest
import torch
from dense_hessian import dense, flat_data
from small_models import conv_net, images
from torch import nn

import lsweep
from lsweep import config
from lsweep.comm import SerialComm
from lsweep.config import Config, DataConfig, EvaluateConfig, ModelConfig
from lsweep.data import from_object
from lsweep.engine import job
from lsweep.errors import ConfigError, FileFormatError, IdentityError, InputError
from lsweep.evaluate import problem
from lsweep.evaluate.objective import Supervised, cross_entropy
from lsweep.evaluate.problem import Problem
from lsweep.grid import Axis, Grid, Refine
from lsweep.models.parameters import weight_space
from lsweep.surface import Precision, Surface

GRID = Grid(Axis(-1.0, 1.0, 3), Axis(0.0, 0.5, 2))


def swept(model: nn.Module, data: Any, **settings: Any) -> Surface:
    surface = lsweep.sweep(model, data, hessian=True, **{"grid": GRID, "device": "cpu"} | settings)
    assert surface is not None and surface.complete
    return surface


def drawn(model: nn.Module, moved: list[bool]) -> list[list[torch.Tensor]]:
    rng = torch.Generator().manual_seed(5)
    shapes = [entry.shape for entry in weight_space(model).entries]
    return [
        [torch.randn(s, generator=rng) * (0.3 if m else 0.0) for s, m in zip(shapes, moved, strict=True)]
        for _ in range(2)
    ]


def truth(model: nn.Module, data: Any, directions: list[list[torch.Tensor]], moved: list[bool]) -> np.ndarray:
    """(2, ny, nx): λmin and λmax of the dense Hessian at every point of GRID."""
    found = np.empty((2, *GRID.shape))
    for j, i in np.ndindex(*GRID.shape):
        x, y = GRID.x.values[i], GRID.y.values[j]
        there = copy.deepcopy(model).double()
        with torch.no_grad():
            for parameter, d, e in zip(there.parameters(), *directions, strict=True):
                parameter += x * d + y * e
        values = np.linalg.eigvalsh(dense(there, data, "cross_entropy", moved))
        found[:, j, i] = values[0], values[-1]
    return found


NETWORKS = {
    "conv, BatchNorm": (conv_net, images()),
    "tanh": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), flat_data(4)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("part", ["all", "weights", "first"])
def test_equal_to_the_dense_hessian(name: str, part: str) -> None:
    torch.manual_seed(0)
    model, data = NETWORKS[name][0](), NETWORKS[name][1]
    entries = weight_space(model).entries
    moved = {
        "all": [True] * len(entries),
        "weights": [len(entry.shape) > 1 for entry in entries],
        "first": [entry.name.startswith("0.") for entry in entries],
    }[part]
    directions = drawn(model, moved)
    surface = swept(model, data, directions=directions, precision="fp64")
    smallest, largest = truth(model, data, directions, moved)
    scale = np.maximum(np.abs(smallest), np.abs(largest))
    assert (np.abs(surface.metrics["eig_min"] - smallest) <= 1e-4 * scale).all()
    assert (np.abs(surface.metrics["eig_max"] - largest) <= 1e-4 * scale).all()
    np.testing.assert_allclose(surface.metrics["eig_ratio"], np.abs(smallest / largest), rtol=2e-3, atol=1e-4)
    known = surface.curvature
    assert set(known) == {"eig_min", "eig_max", "residual_min", "residual_max", "products"}
    assert (known["residual_min"] <= 3e-3 * scale).all() and (known["residual_max"] <= 3e-3 * scale).all()
    assert (known["products"] > 5).all()


def test_fp32_and_the_loss_beside_it() -> None:
    """Loss and accuracy are what they are without curvature; the network comes back as it was."""
    torch.manual_seed(0)
    model, data = conv_net(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[0].weight.requires_grad_(False)
    surface, double = (swept(model, data, directions={"seed": 1}, precision=p) for p in ("fp32", "fp64"))
    plain = lsweep.sweep(model, data, grid=GRID, directions={"seed": 1}, device="cpu")
    assert plain is not None
    for metric in ("loss", "accuracy"):
        assert surface.metrics[metric].tobytes() == plain.metrics[metric].tobytes()
    assert plain.curvature == {} and "eig_min" not in plain.metrics
    for end in ("eig_min", "eig_max"):
        np.testing.assert_allclose(surface.metrics[end], double.metrics[end], rtol=1e-3)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "saving",
    [{"precision": "bf16", "tolerance": 0.05}, {"relative_error": 0.2}],
    ids=["low precision", "subset"],
)
def test_the_hessian_is_that_of_all_examples_in_full_precision(saving: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, data = conv_net(), images(400)
    known = []
    for settings in (EvaluateConfig(device="cpu"), EvaluateConfig(device="cpu", **saving)):
        settings = dataclasses.replace(settings, metrics=("hessian",))
        asked = Problem(model, {"train": from_object(data)}, Supervised(cross_entropy), "cross_entropy")
        made = Config(
            "",
            ModelConfig("conv_net"),
            DataConfig("images"),
            grid=Grid(Axis(-0.5, 0.5, 2)),
            evaluate=settings,
        )
        surface = job.execute(made, asked, SerialComm(), None)[1]
        assert surface is not None and surface.complete
        known.append(surface)
    exact, estimated = known
    for end in ("eig_min", "eig_max"):
        assert estimated.metrics[end].tobytes() == exact.metrics[end].tobytes()
    assert (estimated.columns["precision"] == Precision.BF16).any() == ("precision" in saving)
    assert (estimated.columns["examples"] < 400).all() == ("relative_error" in saving)


def test_points_that_refinement_settles_have_no_eigenvalues() -> None:
    torch.manual_seed(0)
    grid = Grid(Axis(-1.0, 1.0, 65), refine=Refine(tolerance=0.3))
    surface = swept(conv_net(), images(), grid=grid)
    assert surface.settled.any() and surface.done.any()
    for name in ("eig_min", "eig_max", "eig_ratio"):
        np.testing.assert_array_equal(np.isfinite(surface.metrics[name]), surface.done)
        assert np.isfinite(surface.filled(name)).all()
    assert all(np.isnan(values[surface.settled]).all() for values in surface.curvature.values())


def test_not_finite_is_a_result(caplog: pytest.LogCaptureFixture) -> None:
    class Steep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(2, 40))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ self.w * 60).exp()

    directions = [[torch.ones(2, 40)]]
    with caplog.at_level(logging.WARNING, "lsweep"):
        surface = swept(
            Steep(),
            (torch.ones(3, 2), torch.zeros(3, 40)),
            directions=directions,
            grid={"x": {"min": -1.0, "max": 1.0, "num": 3}},
            loss="mse",
        )
    assert surface.done.all()
    assert np.isfinite(surface.metrics["eig_max"]).tolist() == [True, False, False]
    assert np.isnan(surface.metrics["eig_min"][2])
    assert "no finite Hessian" in caplog.text


def test_what_does_not_converge_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 3))
    data = (3 * torch.randn(100, 4), torch.randint(3, (100,)))
    made = config.from_table(
        {
            "output": str(tmp_path / "s.h5"),
            "model": {"source": "x"},
            "data": {"source": "x"},
            "grid": {"x": {"num": 1}},
            "evaluate": {"metrics": ["hessian"], "device": "cpu"},
            "curvature": {"tolerance": 1e-7, "max_products": 1},
        }
    )
    swept = Problem(model, {"train": from_object(data)}, Supervised(cross_entropy), "cross_entropy")
    with caplog.at_level(logging.WARNING, "lsweep"):
        _, surface = job.execute(made, swept, SerialComm(), None)
    assert surface is not None
    assert "did not converge" in caplog.text
    assert surface.curvature["residual_max"][0] > 1e-7
    assert np.isfinite(surface.metrics["eig_max"]).all()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(*overrides: str, **options: Any) -> Surface:
    made = config.load("sweep.toml", ['evaluate.metrics=["hessian"]', "output=out.h5", *overrides])
    job.sweep(made, SerialComm(), job.Options(**options))
    return lsweep.open(made.output)


@pytest.mark.slow
def test_the_file_and_a_resume(here: Path) -> None:
    whole = sweep("output=whole.h5")
    part = sweep(max_points=7)
    assert not part.complete
    assert np.isnan(part.metrics["eig_max"][~part.done]).all()
    assert np.isfinite(part.metrics["eig_max"][part.done]).all()
    assert np.isnan(part.curvature["products"][~part.done]).all()
    resumed = sweep()
    assert resumed.complete
    for name, values in whole.metrics.items():
        assert values.tobytes() == resumed.metrics[name].tobytes(), name
    for name, values in whole.columns.items():
        assert values.tobytes() == resumed.columns[name].tobytes(), name
    with h5py.File("out.h5") as file:
        assert file["curvature/eig_min"].shape == (3, 5) == file["curvature/eig_max"].shape
        assert file["curvature/eig_min"].dims[0].keys() == ["y"]
        assert file["curvature"].attrs["tolerance"] == 1e-3
        assert dict(file["curvature"].attrs)["max_products"] == 400
    with pytest.raises(IdentityError, match=r"curvature.tolerance"):
        sweep("curvature.tolerance=1e-4")
    with pytest.raises(IdentityError, match="metrics"):
        sweep("evaluate.metrics=[]")


def test_a_file_without_its_datasets_is_not_resumed(here: Path) -> None:
    sweep(max_points=7)
    with h5py.File("out.h5", "r+") as file:
        del file["curvature/eig_max"]
    with pytest.raises(FileFormatError, match="eig_max"):
        sweep()


def test_memory_and_file_give_the_same(here: Path) -> None:
    stored = sweep()
    made = config.load("sweep.toml", ['evaluate.metrics=["hessian"]'])
    _, kept = job.execute(made, problem.build(made, SerialComm()), SerialComm(), None)
    assert kept is not None
    assert set(kept.metrics) == set(stored.metrics)
    for name, values in stored.curvature.items():
        assert values.tobytes() == kept.curvature[name].tobytes(), name


def test_what_it_does_not_go_with(here: Path) -> None:
    with pytest.raises(ConfigError, match="points_at_once"):
        sweep("evaluate.points_at_once=4")
    with pytest.raises(ConfigError, match="given twice"):
        sweep('evaluate.metrics=["hessian", "hessian"]')
    with pytest.raises(ConfigError, match=r"curvature\.tolerance must be"):
        sweep("curvature.tolerance=2.0")
    with pytest.raises(ConfigError, match="did you mean 'max_products'"):
        sweep("curvature.max_product=3")
    (here / "own.py").write_text("def f(output, target):\n    return output[:, 0]\n")
    with pytest.raises(InputError, match="metric cannot be called 'eig_min'"):
        sweep('evaluate.metrics=["eig_min = own.py:f"]')
    assert sweep("evaluate.points_at_once=auto").complete


@pytest.mark.slow
def test_two_splits_and_a_cheap_precision(here: Path) -> None:
    """The eigenvalues are the first split's, in fp32, whatever the loss is computed in."""
    plain = sweep("output=plain.h5")
    both = sweep('data.split=["train","test"]', "data.test_path=test.npz", "evaluate.precision=bf16")
    assert both.metrics["eig_max"].tobytes() == plain.metrics["eig_max"].tobytes()
    assert "precision" in both.columns


def eigen(*overrides: str) -> Surface:
    return sweep("directions.kind=hessian", "evaluate.metrics=[]", *overrides)


def stored(path: str) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {
            axis: np.concatenate([file[f"directions/{axis}/{k}"][...].ravel() for k in range(4)])
            for axis in ("x", "y")
            if axis in file["directions"]
        }


def centre_hessian(free: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eigenpairs of the dense Hessian of the project's network; over weights alone, or all."""
    made = config.load("sweep.toml")
    swept = problem.build(made, SerialComm())
    (inputs, labels) = next(swept.splits["train"].batches(40))
    moved = [free or p.dim() > 1 for p in swept.model.parameters()]
    return np.linalg.eigh(dense(swept.model, (inputs, labels), "cross_entropy", moved))


@pytest.mark.parametrize("free", [False, True])
def test_eigenvectors_as_directions(free: bool, here: Path) -> None:
    bias = "random" if free else "zero"
    eigen(
        "directions.normalize=none",
        f"directions.bias_bn={bias}",
        "curvature.tolerance=1e-6",
        "directions.y.eigenvector=-1",
    )
    found = stored("out.h5")
    _, vectors = centre_hessian(free)
    for axis, column in (("x", -1), ("y", 0)):
        vector = found[axis][np.abs(found[axis]) > 0] if not free else found[axis]
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)
        assert vector[np.abs(vector).argmax()] > 0
        if free:
            assert abs(vector @ vectors[:, column]) == pytest.approx(1.0, abs=1e-4)
    with h5py.File("out.h5") as file:
        recipe = json.loads(file["directions"].attrs["recipe"])
        assert recipe["y"]["eigenvector"] == -1
        biases = [file[f"directions/x/{k}"][...] for k in (1, 3)]
    assert any(b.any() for b in biases) == free


def test_eigenvectors_are_normalised_like_others_and_kept_for_a_resume(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = ["directions.kind=hessian", "evaluate.metrics=[]"]
    with caplog.at_level(logging.INFO, "lsweep"):
        sweep(*made, max_points=4)
        assert caplog.text.count("eigenvector 1 of the Hessian") == 1
        assert caplog.text.count("eigenvector 2 of the Hessian") == 1
        first = stored("out.h5")
        caplog.clear()
        assert sweep(*made).complete
        assert "eigenvector" not in caplog.text
    weight = project.state()["1.weight"].numpy()
    filters = first["x"][: weight.size].reshape(weight.shape)
    np.testing.assert_allclose(np.linalg.norm(filters, axis=1), np.linalg.norm(weight, axis=1), rtol=1e-5)
    with pytest.raises(IdentityError, match="directions"):
        sweep(*made, "directions.x.eigenvector=3")


def test_eigenvectors_that_cannot_be_had(here: Path) -> None:
    with pytest.raises(ConfigError, match="counts from the largest"):
        eigen("directions.eigenvector=0")
    with pytest.raises(ConfigError, match="only 114 parameters"):
        eigen("directions.x.eigenvector=500")
    with pytest.raises(ConfigError, match="leave no parameter"):
        eigen('directions.include=["1.bias"]')
    state = project.state()
    state["3.weight"].fill_(float("inf"))
    torch.save(state, here / "net.pt")
    with pytest.raises(InputError, match="no finite Hessian"):
        eigen()


def test_the_config_is_stored(here: Path) -> None:
    sweep("curvature.seed=4")
    text = lsweep.open("out.h5").config
    again = config.parse(text)
    assert dataclasses.asdict(again.curvature) == {
        "tolerance": 1e-3,
        "max_products": 400,
        "seed": 4,
        "batch_size": None,
    }
    assert again.evaluate.hessian and again.evaluate.own_metrics == ()
