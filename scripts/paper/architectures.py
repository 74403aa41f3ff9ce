"""Trainings and planes of the paper's architectures, and their panel figure on one scale.

In the small form all networks are a quarter as wide (`nets.py`), on a share of the images and without augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from drawing import panels
from study import Study, axis, cifar10, counted, drops

from lsweep import render
from lsweep.compare import local_minima, share_below

LEVELS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]


@dataclass(frozen=True)
class Size:
    """What the sizes differ in; `evaluated` training images are what planes see."""

    source: str
    images: int | None
    evaluated: int | None
    epochs: int
    batch: int
    plane: int
    augment: str = "none"


SIZES = {
    "tiny": Size("scripts/paper/nets.py:", 32, 16, 1, 16, 3),
    "small": Size("scripts/paper/nets.py:", 1024, 256, 40, 64, 15),
    "full": Size("", None, None, 300, 128, 51, "crop_flip"),
}


def learning_rate(network: str) -> float:
    """0.1; lower where the paper's deepest network without shortcuts needs it."""
    return 0.01 if network == "resnet110_noshort" else 0.1


def trainings(name: str, networks: Sequence[str], **recipe: Any) -> dict[str, dict[str, Any]]:
    """One per network; `recipe` overrides what the figures have in common."""
    size = SIZES[name]
    common = {
        "epochs": size.epochs,
        "batch_size": size.batch,
        "drops": drops(size.epochs),
        "augment": size.augment,
    }
    return {
        network: {
            "model": {"source": size.source + network},
            "data": cifar10(size.images, "train", "test"),
            "train": {**common, "lr": learning_rate(network), "checkpoint_every": size.epochs, **recipe},
        }
        for network in networks
    }


def planes(study: Study, networks: Sequence[str], **more: Any) -> dict[str, dict[str, Any]]:
    """A filter-normalised plane around each training's last weights."""
    size = SIZES[study.size]
    return {
        f"plane_{network}": {
            "model": {"source": size.source + network, "weights": str(study.path(network, ".trail"))},
            "data": cifar10(size.evaluated, "train"),
            "grid": {"x": axis(size.plane), "y": axis(size.plane)},
            **more,
        }
        for network in networks
    }


def draw(study: Study, rows: Sequence[Sequence[str]]) -> None:
    """Contours, one panel per network, all on one scale; the title has the test error."""
    surfaces = {network: study.surface(f"plane_{network}") for row in rows for network in row}
    finite = np.concatenate([s.loss[np.isfinite(s.loss)] for s in surfaces.values()])
    scale = {"log": True, "vmin": float(finite.min()), "vmax": float(finite.max()), "levels": LEVELS}
    with panels(study.out / "figure.png", len(rows), len(rows[0]), width=2.9, height=2.9) as axes:
        for panel_row, row in zip(axes, rows, strict=True):
            for ax, network in zip(panel_row, row, strict=True):
                title = f"{network}, {100 * test_error(study, network):.1f} %".replace("_", " ")
                render.contour(surfaces[network], ax, title=title, **scale)


def test_error(study: Study, network: str) -> float:
    return 1.0 - study.trail(network).epochs[-1].values["accuracy_test"]


def numbers(study: Study, networks: Sequence[str]) -> dict[str, Any]:
    """What the eye sees of each plane, beside loss and error of both splits at the end of the training."""
    found = {}
    for network in networks:
        surface = study.surface(f"plane_{network}")
        found[network] = {
            **study.trail(network).epochs[-1].values,
            "largest": float(np.nanmax(surface.loss)),
            "share below 1": share_below(surface, 1.0),
            "minima": len(local_minima(np.log(surface.loss), depth=0.1)),
        }
    return found


def sentences(found: dict[str, Any]) -> list[str]:
    return [
        f"{network}: training loss {row['loss']:.3g}, test error {100 * (1 - row['accuracy_test']):.1f} %, "
        f"{100 * row['share below 1']:.1f} % of the plane below loss 1, "
        f"{counted(row['minima'], 'minimum', 'minima')}, largest loss {row['largest']:.3g}."
        for network, row in found.items()
    ]


def figure(study: Study, rows: Sequence[Sequence[str]]) -> None:
    """The whole of figures 4 to 6: train, sweep, draw, write."""
    networks = [network for row in rows for network in row]
    trained, swept = trainings(study.size, networks), planes(study, networks)
    if not study.run(trained, swept):
        return
    draw(study, rows)
    found = numbers(study, networks)
    size = SIZES[study.size]
    width = "" if study.size == "full" else "a quarter as wide, "
    study.write(
        drawn=f"{len(networks)} networks, {width}{size.images or 'all'} training images, {size.epochs} epochs, batch "
        f"{size.batch}; planes of {size.plane} × {size.plane} points, {size.evaluated or 'all'} images",
        found=sentences(found),
        numbers=found,
        names=[*trained, *swept],
    )
