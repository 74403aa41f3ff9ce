"""Train the demo's network on the digits, in seconds: results/demo/digits.pt and its test accuracy.

Data and network come from digits.toml, so that training and sweep cannot disagree. A network that is there already
and good enough is kept. Exit status 1 if the test accuracy is not above 95 %.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from net import make_net
from torch import nn

from lsweep import config
from lsweep.data import load

CONFIG = Path("scripts/demo/digits.toml")
ENOUGH = 0.95
EPOCHS = 30
BATCH = 64


def examples(settings: config.Config, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All images (N, 1, 8, 8) and labels (N,) of a split, as the sweep will see them."""
    data = load(settings.data, split)
    return next(data.batches(len(data)))


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    net.eval()
    with torch.no_grad():
        return (net(images).argmax(1) == labels).double().mean().item()


def train(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """SGD with momentum, weight decay and one cycle of the learning rate, in place."""
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    net.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()


def kept(path: Path, test: tuple[torch.Tensor, torch.Tensor]) -> float | None:
    """The test accuracy of the network in `path`; None if there is none that fits and is good enough."""
    net = make_net()
    try:
        net.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    except FileNotFoundError:
        return None
    except Exception as error:  # half-written, or of another architecture: whatever it is, we can train again
        print(f"{path} is of no use here ({type(error).__name__}); training again")
        return None
    found = accuracy(net, *test)
    return found if found > ENOUGH else None


def main() -> int:
    torch.manual_seed(0)
    settings = config.load(CONFIG)
    path = Path(str(settings.model.weights))
    test = examples(settings, "test")
    found = kept(path, test)
    if found is not None:
        print(f"test accuracy {found:.2%}, {path} kept")
        return 0
    net = make_net()
    train(net, *examples(settings, "train"))
    found = accuracy(net, *test)
    print(f"test accuracy {found:.2%}, {sum(p.numel() for p in net.parameters())} parameters, {path}")
    if found <= ENOUGH:
        print(f"that is not above {ENOUGH:.0%}; nothing saved", file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({"state_dict": net.state_dict()}, partial)
    partial.replace(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
