"""A plain regression with a loss of one's own, and its landscape while it is trained.

    python examples/regression.py [FOLDER]

A small MLP learns a noisy curve with the Huber loss. `lsweep.Landscape` sweeps it before the training and after
40 and 80 epochs, and the figure shows the three planes on one scale. Seconds on a CPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import lsweep


def huber(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A loss of one's own has a value per example: (B, 1), (B, 1) → (B,)."""
    return F.huber_loss(output, target, reduction="none", delta=0.5).mean(dim=1)


def main(folder: Path) -> None:
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 200)[:, None]
    y = torch.sin(3 * x) + 0.1 * torch.randn_like(x)
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

    landscape = lsweep.Landscape((x, y), every=40, folder=folder, loss=huber, grid=21)
    landscape(0, model)
    for epoch in range(1, 81):
        for batch in torch.randperm(len(x)).split(50):
            optimiser.zero_grad()
            huber(model(x[batch]), y[batch]).mean().backward()
            optimiser.step()
        landscape(epoch, model)

    print(f"loss {huber(model(x), y).mean().item():.6f}")
    epochs = (0, 40, 80)
    surfaces = [lsweep.open(landscape.path(epoch)) for epoch in epochs]
    titles = [f"after {epoch} epochs" for epoch in epochs]
    lsweep.render.save(surfaces, folder / "regression.png", kind="filled", titles=titles)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/examples"))
