"""Small networks that several tests use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class Conv1D(nn.Module):
    """As in Hugging Face's GPT-2: a linear layer with weight (in, out)."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(into, out))
        self.bias = nn.Parameter(torch.randn(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class Tied(nn.Module):
    """An embedding whose transpose is the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.output = nn.Linear(4, 7, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.embedding(x))


class Quadratic(nn.Module):
    """The loss is ½‖w − x‖², to be used with `quadratic_loss`."""

    def __init__(self, n: int = 4) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(n, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((self.w - x) ** 2).flatten(1).sum(1)


def conv_net(classes: int = 3) -> nn.Sequential:
    """Convolution, BatchNorm with lived-in statistics, linear layer; images (B, 3, H, W)."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )
    return live_in(net)


def live_in(net: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and an affine map that are not the initial ones."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.running_var is not None:
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
    return net.eval()


MODELS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(5, 3),
    "conv": conv_net,
    "transposed": lambda: nn.ConvTranspose2d(2, 3, 3),
    "hf": lambda: Conv1D(5, 3),
    "embedding": lambda: nn.Embedding(6, 4),
    "tied": Tied,
    "conv3d": lambda: nn.Conv3d(2, 3, 2),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "norms": lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4)),
}


def images(n: int = 12, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images with labels."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 3, 6, 5, generator=generator),
        torch.randint(classes, (n,), generator=generator),
    )
