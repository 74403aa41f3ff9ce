"""VGG-9 for CIFAR ([Li18] §5, as in the code released with it): seven convolutions and two linear layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((64, 64), (128, 128), (256, 256, 256))


def make_features(in_channels: int) -> nn.Sequential:
    """Return the stages, flat: 3×3 convolutions with bias, each with BatchNorm and ReLU; then a pooling."""
    layers: list[nn.Module] = []
    for stage in STAGES:
        for width in stage:
            layers += [
                nn.Conv2d(in_channels, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            in_channels = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers)


class VGG9(nn.Module):
    """VGG with BatchNorm and one hidden linear layer (it too with BatchNorm), for square images.

    Args:
        num_classes: width of the output.
        in_channels: channels of an image.
        image_size: height and width of an image.
    """

    def __init__(self, *, num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> None:
        super().__init__()
        width = STAGES[-1][-1]
        side = -(-image_size // 2 ** len(STAGES))  # rounded up, as the poolings do
        self.features = make_features(in_channels)
        self.fc = nn.Sequential(
            nn.Linear(width * side * side, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)
        )
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, image_size, image_size) float -> logits (B, num_classes)."""
        out = torch.flatten(self.features(x), start_dim=1)
        return self.classifier(self.fc(out))
