"""Residual networks for CIFAR, with and without shortcuts ([He16], [Li18] §5 and the code released with it).

All have depth 6n+2: a 3×3 stem, three stages of n two-convolution blocks at widths 16k, 32k, 64k, a global
mean and a linear layer. The "wide" networks of [Li18] are the same design with k > 1, not Zagoruyko and
Komodakis' (arXiv 1605.07146): the stem is widened too, and convolutions come before BatchNorm.

[He16] He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016 (arXiv 1512.03385).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shortcut = Literal["conv", "pad", "none"]


class PadShortcut(nn.Module):
    """Option A of [He16] where the shape changes: every second pixel, with new channels of zeros on both sides.

    It has no parameters. The zeros are split evenly between front and back, as trained checkpoints expect.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.front = (out_channels - in_channels) // 2
        self.back = out_channels - in_channels - self.front

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, ⌈H/stride⌉, ⌈W/stride⌉)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.front, self.back))


def make_shortcut(kind: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Return the shortcut of a block: the identity if the shape does not change, None for `kind` "none"."""
    if kind == "none":
        return None
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, each with BatchNorm; the shortcut, if any, is added before the last ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, ⌈H/stride⌉, ⌈W/stride⌉)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.shortcut is not None:
            out += self.shortcut(x)
        return F.relu(out, inplace=True)  # in place: 5 to 10 % of a ResNet-56's forward on a CPU


def make_stage(
    in_channels: int, out_channels: int, blocks: int, stride: int, shortcut: Shortcut
) -> nn.Sequential:
    """Return `blocks` blocks of one width; the first one changes width and resolution."""
    first = BasicBlock(in_channels, out_channels, stride, shortcut)
    rest = (BasicBlock(out_channels, out_channels, 1, shortcut) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class CifarResNet(nn.Module):
    """A residual network for small images; modules are named as in the checkpoints of [Li18].

    Args:
        depth: 6n + 2 for n blocks per stage.
        width: k, the factor on the widths 16, 32, 64 and on the stem.
        base: replaces 16 in the widths, for narrower networks.
        shortcut: "conv" (1×1 convolution + BatchNorm where the shape changes, as in [Li18]), "pad" (option A of
            [He16]) or "none".
        num_classes: width of the output.
        in_channels: channels of an image.

    Raises:
        ValueError: `depth` is not 6n + 2.
    """

    def __init__(
        self,
        depth: int,
        *,
        width: int = 1,
        base: int = 16,
        shortcut: Shortcut = "conv",
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        blocks, odd = divmod(depth - 2, 6)
        if odd or blocks < 1:
            raise ValueError(f"depth must be 6n + 2 with n >= 1, got {depth}")
        w1, w2, w3 = base * width, 2 * base * width, 4 * base * width
        self.conv1 = nn.Conv2d(in_channels, w1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(w1)
        self.layer1 = make_stage(w1, w1, blocks, 1, shortcut)
        self.layer2 = make_stage(w1, w2, blocks, 2, shortcut)
        self.layer3 = make_stage(w2, w3, blocks, 2, shortcut)
        self.linear = nn.Linear(w3, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) float -> logits (B, num_classes)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.layer3(self.layer2(self.layer1(out)))
        # The mean over all pixels: the same as 8×8 windows for CIFAR, but for images of any size. Adaptive pooling
        # would work too, but CUDA cannot differentiate it deterministically, as the Hessian needs.
        return self.linear(torch.mean(out, dim=(2, 3)))
