"""The table `[train]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsweep.config.seeds import check_seed
from lsweep.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How `lsweep train` trains a network and writes a trail of checkpoints; the defaults are those of [Li18] §6.

    Attributes:
        trail: the trail's folder; by default the output with the suffix ".trail".
        start: initial weights; by default the network's own initialisation, drawn with `init_seed`.
        epochs, batch_size, optimizer: the usual settings. The last batch of an epoch may be smaller.
        lr, drops, drop_factor: the learning rate, multiplied by `drop_factor` after each epoch of `drops`.
        momentum, nesterov: settings of SGD; `betas` and `eps` are those of Adam.
        weight_decay: an L2 term on every parameter, including biases and those of BatchNorm.
        augment: "crop_flip" pads by `padding`, crops at random and mirrors half of the images.
        label_noise: the share of training labels that are replaced by another class at random.
        micro_batch: the gradient of a batch is summed over pieces of this size, to save memory; BatchNorm then computes
            its statistics for each piece.
        checkpoint_every, evaluate_every: intervals in epochs.
        seed: seed for the order of examples, augmentation, dropout and label noise.
        init_seed: seed for the initial weights; by default `seed`.
    """

    trail: str | None = None
    start: str | None = None
    epochs: int = 300
    batch_size: int = 128
    micro_batch: int | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.1
    drops: tuple[int, ...] = (150, 225, 275)
    drop_factor: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 5e-4
    augment: Literal["crop_flip", "none"] = "crop_flip"
    padding: int = 4
    label_noise: float = 0.0
    checkpoint_every: int = 1
    evaluate_every: int = 1
    seed: int = 0
    init_seed: int | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_seed(self.init_seed)
        for key in ("epochs", "batch_size", "micro_batch", "checkpoint_every", "evaluate_every"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"train.{key} must be >= 1, got {value}", key=f"train.{key}")
        for key in ("lr", "drop_factor", "eps"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ConfigError(
                    f"train.{key} must be finite and > 0, got {getattr(self, key)}", key=f"train.{key}"
                )
        for key in ("weight_decay", "padding"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ConfigError(
                    f"train.{key} must be finite and >= 0, got {getattr(self, key)}", key=f"train.{key}"
                )
        if not 0 <= self.label_noise <= 1:
            raise ConfigError(
                f"train.label_noise must be in [0, 1], got {self.label_noise}", key="train.label_noise"
            )
        if not 0 <= self.momentum < 1:
            raise ConfigError(
                f"train.momentum must be >= 0 and < 1, got {self.momentum}", key="train.momentum"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"train.betas must be two numbers >= 0 and < 1, got {list(self.betas)}", key="train.betas"
            )
