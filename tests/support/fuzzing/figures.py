"""Surfaces of valid form and absurd numbers, drawn and exported."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import numpy as np

from fuzzing.targets import attempt
from lsweep.surface import Surface

NUMBERS = (0.0, -1.0, 1.0, 2.0, 3.5, 1e300, 1e308, -1e308, 1e15, 5e-324, 1e-300, np.nan, np.inf, -np.inf)
ENDS = (-1e308, -1e300, -1.0, 0.0, 5e-324, 1e-300, 1.0, 1e15, 1e300, 1e308)


def surface(rng: random.Random) -> Surface:
    """A plane of 3 × 5 points: some of its loss, status and axes may be anything that a file can hold."""
    shape = (3, 5)
    loss = np.linspace(0.1, 3, 15) if rng.random() < 0.5 else np.resize(rng.choices(NUMBERS, k=15), 15)
    status = np.ones(shape) if rng.random() < 0.5 else np.resize(rng.choices((0, 1, 2, 3, 9), k=15), shape)
    axes = {name: _axis(rng, count) for name, count in (("x", 5), ("y", 3))}
    done = status == 1
    return Surface(
        axes,
        {"loss": np.where(done, loss.reshape(shape), np.nan), "accuracy": np.full(shape, np.nan)},
        status.astype(np.uint8),
        np.ones(shape, np.float32),
        np.zeros(shape, np.int32),
        path=Path("a.h5"),
    )


def _axis(rng: random.Random, count: int) -> np.ndarray:
    kinds = (
        np.linspace(-1, 1, count),
        np.sort(rng.sample(ENDS, count)),
        np.linspace(0, 1e-310, count),
        1 + np.arange(count) * 2.3e-16,
        np.linspace(1e16, 1e16 + 10 * count, count),
    )
    return kinds[0] if rng.random() < 0.4 else rng.choice(kinds)


def draw(number: int, folder: Path) -> str:
    """Draw and export a surface in ways that the number chooses; warnings are errors, they are lines too."""
    from lsweep.export.vtk import write
    from lsweep.render.figure import save

    rng = random.Random(number)
    values = surface(rng)
    kind = rng.choice(("contour", "filled", "heatmap", "surface", "line", "scene"))
    look = rng.choice(
        ({}, {"log": True}, {"log": False}, {"clip": 1.0}, {"metric": "accuracy"}, {"levels": 5})
    )
    how = rng.choice(({}, {"log": True}, {"scale": "auto"}, {"clip": 1.0}))
    suffix = rng.choice((".vts", ".vtp", ".vti", ".glb", ".xdmf", ".py"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused = [
            attempt(lambda: save(values, folder / "a.png", kind=kind, dpi=20, **look)),
            attempt(lambda: write(values, folder / f"a{suffix}", **how)),
        ]
    return "; ".join(filter(None, refused))
