"""Twins of one network that compute the same, and the surfaces that see the difference ([Li18] §3).

python scripts/figures/plot_scale_invariance.py

Trains a small network on scikit-learn's digits, rescales it without changing its function, and draws the loss along one
random direction, unnormalised and filter-normalised. Writes figure.png and numbers.json
into results/figures/scale_invariance.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import lsweep
from lsweep import data
from lsweep.config import DataConfig
from lsweep.models.rescale import draw, pairs, rescaled
from lsweep.tools import provenance

FOLDER = Path(__file__).resolve().parents[2] / "results" / "figures" / "scale_invariance"
GRID = {"x": {"min": -1.0, "max": 1.0, "num": 41}}
STYLES = {
    "trained": ("black", "-", 2.6),
    "one factor a layer, one a filter before BatchNorm": ("#0072B2", "--", 1.6),
    "one factor a ReLU unit": ("#D55E00", ":", 2.0),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(72, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int = 15) -> None:
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    model.train()
    for _ in range(epochs):
        for some in torch.randperm(len(labels), generator=rng).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[some]), labels[some]).backward()
            optimizer.step()
    model.eval()


def twins(model: nn.Module) -> dict[str, nn.Module]:
    found = pairs(model)
    layers = draw(found, torch.Generator().manual_seed(4), spread=5.0)
    units = draw([p for p in found if p.kind == "relu"], torch.Generator().manual_seed(4), 5.0, per="unit")
    return dict(zip(STYLES, (model, rescaled(model, layers), rescaled(model, units)), strict=True))


def measure() -> dict:
    digits = data.load(DataConfig("digits"), "train")
    images, labels = next(digits.batches(len(digits)))
    model = network()
    train(model, images, labels)
    lines: dict[str, dict[str, list[float]]] = {"none": {}, "filter": {}}
    outputs = {}
    for name, twin in twins(model).items():
        with torch.no_grad():
            outputs[name] = twin(images)
        for normalize in lines:
            recipe = {"seed": 3, "normalize": normalize}
            surface = lsweep.sweep(twin, digits, directions=recipe, grid=GRID, device="cpu", precision="fp64")
            lines[normalize][name] = surface.loss.tolist()
    truth = outputs["trained"]
    return {
        "alpha": surface.x.tolist(),
        "loss": lines,
        "largest relative difference of outputs": {
            name: float((out - truth).abs().max() / truth.abs().max()) for name, out in outputs.items()
        },
        "largest relative difference of the loss": {
            normalize: {
                name: float(np.abs(np.array(loss) / np.array(found["trained"]) - 1).max())
                for name, loss in found.items()
            }
            for normalize, found in lines.items()
        },
        "examples": len(digits),
        "environment": provenance.collect(),
    }


def plot(found: dict) -> Path:
    with plt.rc_context({"font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8}):
        figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), layout="constrained", sharey=True)
        for ax, (normalize, title) in zip(
            axes, {"none": "direction as drawn", "filter": "filter-normalised direction"}.items(), strict=True
        ):
            for name, (color, dash, width) in STYLES.items():
                losses = found["loss"][normalize][name]
                ax.semilogy(found["alpha"], losses, dash, color=color, linewidth=width, label=name)
            ax.set_title(title)
            ax.set_xlabel(r"$\alpha$  (along one random direction)")
            ax.grid(True, color="0.92", linewidth=0.5)
        axes[0].set_ylabel("loss, train")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(FOLDER / "figure.png", dpi=200)
    return FOLDER / "figure.png"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = measure()
    (FOLDER / "numbers.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k.startswith("largest")}, indent=2))
    print(plot(found))


if __name__ == "__main__":
    main()
