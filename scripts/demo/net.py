"""The demo's network: three convolutions with BatchNorm for the 8×8 digits."""

from __future__ import annotations

from torch import nn


def make_net() -> nn.Module:
    """Images (B, 1, 8, 8) in, logits (B, 10) out; 7,514 parameters."""

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]

    return nn.Sequential(
        *block(1, 16, stride=1),
        *block(16, 16, stride=2),
        *block(16, 32, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
