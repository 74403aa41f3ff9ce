"""The recorded surfaces of the paper's networks, through a configuration and the whole engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import lsweep
from lsweep import config
from lsweep.comm import SerialComm
from lsweep.engine import job

IMAGES = 500
PAPER = {"mean": [125.3 / 255, 123.0 / 255, 113.9 / 255], "std": [63.0 / 255, 62.1 / 255, 66.7 / 255]}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

# File → points (j, i) or (i,) that show bowl, chaos, explosion and NaN; the rest is slow.
SOME: dict[str, list[tuple[int, ...]]] = {
    "resnet56_surface": [(2, 3), (1, 1)],
    "resnet56_noshort_surface": [(4, 3)],
    "resnet20_a_to_b": [(3,), (8,)],
    "resnet20_a_to_b_states": [(1,), (4,)],
}


def table(shared: Path, name: str) -> dict[str, Any]:
    """The configuration of a recorded surface, without its grid."""
    weights, data = shared / "weights", shared / "data/cifar10"
    if name.startswith("resnet20"):
        space = "states" if name.endswith("states") else "weights"
        return {
            "model": {"source": "resnet20_a", "weights": str(weights / "resnet20/a.th")},
            "data": {"source": "npz", "path": str(data / "test.npz"), "limit": IMAGES, **IMAGENET},
            "directions": {"kind": "interpolate", "to": str(weights / "resnet20/b.th"), "space": space},
        }
    network = name.removesuffix("_surface")
    directions = str(shared / "golden" / f"{network}_directions.h5")
    return {
        "model": {"source": network, "weights": str(weights / "li2018" / f"{network}.t7")},
        "data": {"source": "npz", "path": str(data / "train_1.npz"), "limit": IMAGES, **PAPER},
        "directions": {"kind": "file", "path": directions},
    }


def recorded(shared: Path, name: str) -> dict[str, np.ndarray]:
    with h5py.File(shared / "golden" / f"{name}.h5") as file:
        return {key: file[key][...] for key in file}


def axis(values: np.ndarray) -> dict[str, Any]:
    return {"min": float(values[0]), "max": float(values[-1]), "num": len(values)}


def agree(loss: np.ndarray, accuracy: np.ndarray, truth: dict[str, np.ndarray], where: Any = ...) -> None:
    np.testing.assert_allclose(loss, truth["loss"][where], rtol=2e-4, equal_nan=True)
    np.testing.assert_allclose(accuracy, truth["accuracy"][where], atol=1.01 / IMAGES)


@pytest.mark.parametrize("name", SOME)
def test_some_points(shared: Path, tmp_path: Path, name: str) -> None:
    truth = recorded(shared, name)
    for point in SOME[name]:
        places = dict(zip("xy", reversed(point), strict=False))
        grid = {key: axis(truth[key][index : index + 1]) for key, index in places.items()}
        output = tmp_path / f"{point}.h5"
        job.sweep(
            config.from_table(table(shared, name) | {"output": str(output), "grid": grid}), SerialComm()
        )
        surface = lsweep.open(output)
        agree(surface.loss.ravel()[0], surface.accuracy.ravel()[0], truth, point)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_all_points(shared: Path, tmp_path: Path, name: str) -> None:
    truth = recorded(shared, name)
    grid = {key: axis(truth[key]) for key in ("x", "y") if key in truth}
    made = config.from_table(table(shared, name) | {"output": str(tmp_path / "o.h5"), "grid": grid})
    assert job.sweep(made, SerialComm()).exit_status == 0
    surface = lsweep.open(tmp_path / "o.h5")
    for key in grid:
        np.testing.assert_allclose(surface.axes[key], truth[key], rtol=0, atol=1e-15)
    agree(surface.loss, surface.accuracy, truth)
    assert surface.complete and surface.done.all()


@pytest.mark.slow
def test_the_seed_gives_what_the_file_gives(shared: Path, tmp_path: Path) -> None:
    losses = []
    for directions in (table(shared, "resnet56_surface")["directions"], {"seed": 2018}):
        output = tmp_path / f"{len(losses)}.h5"
        grid = {"x": {"min": 0.5, "max": 0.5, "num": 1}, "y": {"min": -0.5, "max": -0.5, "num": 1}}
        settings = {"output": str(output), "grid": grid, "directions": directions}
        job.sweep(config.from_table(table(shared, "resnet56_surface") | settings), SerialComm())
        losses.append(lsweep.open(output).loss)
    assert np.array_equal(*losses)
