"""Surfaces of the paper's networks as the released code computed them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

IMAGES = 500
PAPER = {"mean": [125.3 / 255, 123.0 / 255, 113.9 / 255], "std": [63.0 / 255, 62.1 / 255, 66.7 / 255]}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


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
