"""VGG-9 for CIFAR ([Li18] §5, as in the code released with it): seven convolutions and two linear layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((1, 1), (2, 2), (4, 4, 4))  # widths, in units of the width of the first stage


def make_features(in_channels: int, width: int) -> nn.Sequential:
    """Return the stages as one flat sequence: 3×3 convolutions with bias, BatchNorm and ReLU, then pooling."""
    layers: list[nn.Module] = []
    for stage in STAGES:
        for factor in stage:
            out_channels = factor * width
            layers += [
                nn.Conv2d(in_channels, out_channels, 3, padding=1),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
            in_channels = out_channels
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers)


class VGG9(nn.Module):
    """VGG with BatchNorm and one hidden linear layer (also with BatchNorm), for square images.

    Args:
        num_classes: width of the output.
        in_channels: channels of an image.
        image_size: height and width of an image.
        width: channels of the first stage; the others are twice and four times as wide.
    """

    def __init__(
        self, *, num_classes: int = 10, in_channels: int = 3, image_size: int = 32, width: int = 64
    ) -> None:
        super().__init__()
        last = STAGES[-1][-1] * width
        side = -(-image_size // 2 ** len(STAGES))  # rounded up, as the pooling layers do
        self.features = make_features(in_channels, width)
        self.fc = nn.Sequential(
            nn.Linear(last * side * side, last), nn.BatchNorm1d(last), nn.ReLU(inplace=True)
        )
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, image_size, image_size) float -> logits (B, num_classes)."""
        out = torch.flatten(self.features(x), start_dim=1)
        return self.classifier(self.fc(out))
