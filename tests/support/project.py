"""A small sweep as a user would set it up: a folder with a network, images, trained weights, a configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

NET = """
from torch import nn

def make_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
"""

CONFIG = """
output = "out/sweep.h5"
[model]
source = "net.py:make_net"
weights = "net.pt"
[data]
source = "npz"
path = "train.npz"
[grid]
x = { min = -1.0, max = 1.0, num = 5 }
y = { min = -0.5, max = 1.0, num = 3 }
[evaluate]
device = "cpu"
"""


def write_npz(path: Path, images: int = 40, labels: int | None = None, classes: int = 3) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, 4, 4, 1), dtype=np.uint8)
    np.savez(path, images=pixels, labels=rng.integers(0, classes, labels or images))


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict that fits NET."""
    rng = torch.Generator().manual_seed(100 + seed)
    shapes = {"1.weight": (6, 16), "1.bias": (6,), "3.weight": (3, 6), "3.bias": (3,)}
    return {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def make(folder: Path) -> Path:
    """Write the project into `folder` and return the configuration's path."""
    (folder / "net.py").write_text(NET)
    (folder / "sweep.toml").write_text(CONFIG)
    write_npz(folder / "train.npz")
    write_npz(folder / "test.npz", images=10)
    torch.save(state(), folder / "net.pt")
    return folder / "sweep.toml"
