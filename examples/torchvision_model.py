"""A network of torchvision's, from memory: no configuration, no download.

    python examples/torchvision_model.py [FOLDER]

A ResNet-18 with random initial weights learns for a few steps which corner of a synthetic image is bright. The sweep
takes a GPU where there is one, and leaves the network as and where it was. Under a minute on a CPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision.models import resnet18

import lsweep


def corners(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise images (N, 3, 32, 32) with one bright corner, and which of the four it is, (N,)."""
    labels = torch.arange(count) % 4
    images = torch.randn(count, 3, 32, 32)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = 16 * (label // 2), 16 * (label % 2)
        image[:, row : row + 16, column : column + 16] += 1.0
    return images, labels


def main(folder: Path) -> None:
    torch.manual_seed(0)
    images, labels = corners(32)
    model = resnet18(num_classes=4)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(12):
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimiser.step()
    with torch.no_grad():  # BatchNorm's running statistics catch up with the weights
        for _ in range(20):
            model(images)
        print(f"loss {F.cross_entropy(model.eval()(images), labels).item():.6f}")

    surface = lsweep.sweep(
        model,
        (images, labels),
        grid=9,
        directions={"seed": 1},
        output=folder / "torchvision.h5",
        show_progress=True,
    )
    lsweep.render.save([surface], folder / "torchvision.png", kind="surface", titles=["ResNet-18"])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/examples"))
