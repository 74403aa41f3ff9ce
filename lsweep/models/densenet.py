"""DenseNet-121 for CIFAR ([Li18] §5, as in the code released with it).

Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks*, CVPR 2017
(arXiv 1608.06993): the ImageNet network's four dense blocks at growth rate 32, behind a 3×3 stem without
BatchNorm or pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS_121 = (6, 12, 24, 16)
BOTTLENECK = 4  # output channels of a layer's 1×1 convolution, in units of the growth rate


class DenseLayer(nn.Module):
    """BatchNorm-ReLU-1×1, BatchNorm-ReLU-3×3; the `growth` new channels are concatenated before the old ones."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, inner, kernel_size=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, growth, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, growth + in, H, W)."""
        out = self.conv1(F.relu(self.bn1(x), inplace=True))
        out = self.conv2(F.relu(self.bn2(out), inplace=True))
        return torch.cat([out, x], dim=1)


class Transition(nn.Module):
    """BatchNorm-ReLU-1×1 to fewer channels, then the mean over 2×2 pixels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, ⌊H/2⌋, ⌊W/2⌋)."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x), inplace=True)), 2)


def make_dense_block(in_channels: int, layers: int, growth: int) -> nn.Sequential:
    """Return `layers` dense layers: in_channels -> in_channels + layers · growth."""
    return nn.Sequential(*(DenseLayer(in_channels + i * growth, growth) for i in range(layers)))


class CifarDenseNet(nn.Module):
    """Four dense blocks with transitions that halve channels and resolution, a global mean and a linear layer.

    Args:
        blocks: number of dense layers in each of the four blocks.
        growth: number of channels that a dense layer adds.
        num_classes: width of the output.
        in_channels: channels of an image.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int] = BLOCKS_121,
        *,
        growth: int = 32,
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        width = 2 * growth
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)
        self.stages: list[str] = []  # the names in the checkpoints: dense1, trans1, dense2, …
        for number, layers in enumerate(blocks, start=1):
            self._append(f"dense{number}", make_dense_block(width, layers, growth))
            width += layers * growth
            if number < len(blocks):
                self._append(f"trans{number}", Transition(width, width // 2))
                width //= 2
        self.bn = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, num_classes)

    def _append(self, name: str, stage: nn.Module) -> None:
        self.add_module(name, stage)
        self.stages.append(name)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) float, H and W at least 8 -> logits (B, num_classes)."""
        out = self.conv1(x)
        for stage in self.stages:
            out = getattr(self, stage)(out)
        out = F.relu(self.bn(out), inplace=True)
        return self.linear(torch.mean(out, dim=(2, 3)))
