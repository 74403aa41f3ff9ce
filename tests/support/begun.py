"""Settings of the sweeps that commit a781672 left half done, before modules moved; the files are in tests/golden/begun.

Weights, directions and data come from integers, not from generators, so that every machine has the same ones. To record
a file anew, run `python begun.py FOLDER` with that commit on PYTHONPATH.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

NET = """
from torch import nn

def make_net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 3)
    )

def make_perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, 3))
"""
CONFIG = """
output = "sweep.h5"
[model]
source = "net.py:make_net"
weights = "centre.pt"
[data]
source = "npz"
path = "train.npz"
test_path = "test.npz"
split = ["train", "test"]
[directions]
kind = "interpolate"
to = "right.pt"
to_y = "up.pt"
[grid]
x = { min = -1.0, max = 1.0, num = 5 }
y = { min = -0.5, max = 1.0, num = 4 }
[evaluate]
device = "cpu"
"""
REFINED = ["grid.x.num=9", "grid.y.num=9", "grid.refine.tolerance=0.01"]
PERCEPTRON = ["model.source=net.py:make_perceptron", "model.weights=p_centre.pt"]
CASES: dict[str, list[str]] = {
    "plane": [],
    "refined": REFINED,
    "low": [*REFINED, "evaluate.precision=bf16", "evaluate.relative_error=0.1", "evaluate.least_examples=30"],
    "hessian": ['evaluate.metrics=["hessian"]', "data.split=train"],
    "recalibrated": ["evaluate.batchnorm=recalibrate", "evaluate.recalibrate_examples=40"],
    "together": [
        *PERCEPTRON,
        "directions.to=p_right.pt",
        "directions.to_y=p_up.pt",
        "evaluate.points_at_once=4",
    ],
}


def _numbers(count: int, step: int) -> torch.Tensor:
    """Exact in float32: −0.78 … 0.78."""
    return ((torch.arange(count) * step) % 101 - 50).float() / 64


def _state(shapes: dict[str, tuple[int, ...]], step: int) -> dict[str, torch.Tensor]:
    made = {}
    for place, (name, shape) in enumerate(shapes.items()):
        values = _numbers(int(np.prod(shape)), step + 2 * place).view(shape)
        made[name] = values.abs() + 0.5 if name.endswith("running_var") else values
    return made


def write(folder: Path) -> None:
    """Configuration, networks and data."""
    (folder / "net.py").write_text(NET)
    (folder / "sweep.toml").write_text(CONFIG)
    convolution = {
        "0.weight": (4, 1, 3, 3),
        "1.weight": (4,),
        "1.bias": (4,),
        "1.running_mean": (4,),
        "1.running_var": (4,),
        "4.weight": (6, 64),
        "4.bias": (6,),
        "6.weight": (3, 6),
        "6.bias": (3,),
    }
    perceptron = {"1.weight": (6, 36), "1.bias": (6,), "3.weight": (3, 6), "3.bias": (3,)}
    for place, step in (("centre", 37), ("right", 41), ("up", 53)):
        torch.save(_state(convolution, step), folder / f"{place}.pt")
        torch.save(_state(perceptron, step), folder / f"p_{place}.pt")
    for split, count in (("train", 120), ("test", 50)):
        pixels = (np.arange(count * 36) * 71 % 257 % 256).astype(np.uint8).reshape(count, 6, 6, 1)
        np.savez(folder / f"{split}.npz", images=pixels, labels=np.arange(count) * 7 % 11 % 3)


def arguments(name: str, output: Path, *more: str) -> list[str]:
    """Of `lsweep`, in the folder that `write` filled."""
    sets = [f"output={output}", *CASES[name]]
    return ["sweep", "sweep.toml", *more, "--quiet", *(word for pair in sets for word in ("--set", pair))]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    write(place)
    for case in CASES:
        begin = arguments(case, Path(f"{case}.h5"), "--max-points", "7")
        assert subprocess.run([sys.executable, "-m", "lsweep", *begin], cwd=place).returncode == 75
