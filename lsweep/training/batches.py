"""Training batches: shuffled, augmented on the device, with label noise; identical whenever a step is repeated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils import _pytree as pytree

from lsweep.config import TrainConfig
from lsweep.data import ResidentData
from lsweep.data.images import ImageTransform
from lsweep.errors import DataError


@dataclass(frozen=True)
class CropFlip:
    """Random crops and flips of the images of a batch.

    Attributes:
        top, left: int64 (B,), the corner of the crop in the padded image, 0 … 2·padding.
        flip: bool (B,), whether the image is mirrored left to right.
        padding: number of zero pixels added on each side of an image.
    """

    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor
    padding: int

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Crop and flip images (B, C, H, W), any dtype; the memory order of the result is (B, H, W, C).

        One gather per batch, because a loop would launch a kernel for each image.
        """
        device, (count, _, height, width) = images.device, images.shape
        padded = F.pad(images, [self.padding] * 4)
        across = torch.arange(width, device=device).expand(count, -1)
        mirrored = torch.where(self.flip.to(device)[:, None], width - 1 - across, across)
        columns = self.left.to(device)[:, None] + mirrored
        rows = self.top.to(device)[:, None] + torch.arange(height, device=device)
        batch = torch.arange(count, device=device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def draw(count: int, padding: int, generator: torch.Generator) -> CropFlip:
    """Draw crops and flips for `count` images from a CPU generator, so that they are the same for every device."""
    corners = torch.randint(2 * padding + 1, (2, count), generator=generator)
    flip = torch.randint(2, (count,), generator=generator).bool()
    return CropFlip(corners[0], corners[1], flip, padding)


def corrupt(labels: torch.Tensor, share: float, seed: int) -> torch.Tensor:
    """Replace the labels of some examples by another class, uniformly at random.

    Args:
        labels: (N,), integers from 0; there are `labels.max() + 1` classes.
        share: in [0, 1]; exactly this share of the labels becomes wrong, rounded to a whole number of examples.
        seed: seed for the choice of the examples and their new classes.

    Raises:
        DataError: the labels are not class indices, or all of one class.
    """
    if share == 0:
        return labels
    if labels.dim() != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise DataError(
            f"train.label_noise needs one class index per example, got {labels.dtype} {tuple(labels.shape)}",
            key="train.label_noise",
        )
    classes = int(labels.max()) + 1
    if classes < 2:
        raise DataError("train.label_noise needs at least two classes, got one", key="train.label_noise")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    steps = torch.randint(1, classes, (len(chosen),), generator=generator).to(labels)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + steps) % classes
    return noisy


def seed_of(*numbers: int) -> int:
    """Derive a seed for torch's generators from several numbers; different numbers give different seeds."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state[0]) >> 1  # torch accepts 63 bits


def with_noise(data: ResidentData, settings: TrainConfig) -> ResidentData:
    """Return the same examples, with label noise if the settings ask for it.

    Raises:
        DataError: the data are not pairs of input and label.
    """
    if settings.label_noise == 0:
        return data
    if not isinstance(data.tree, (tuple, list)) or len(data.tree) != 2:
        raise DataError("train.label_noise needs data of (input, label) pairs", key="train.label_noise")
    noisy = corrupt(data.tree[1], settings.label_noise, seed_of(settings.seed, 1))
    return dataclasses.replace(data, tree=(data.tree[0], noisy))


class TrainingBatches:
    """The batches of every epoch. The contents of a batch depend only on (seed, epoch, step).

    Attributes:
        steps: batches per epoch; the last one may be shorter.
    """

    def __init__(self, data: ResidentData, settings: TrainConfig) -> None:
        self._data, self._settings = data, settings
        self._count = len(data)
        self.steps = -(-self._count // settings.batch_size)
        self._order = (-1, torch.empty(0, dtype=torch.int64))

    def batch(self, epoch: int, step: int) -> Any:
        """Return the batch of a step, counted from 0, on the data's device.

        Raises:
            DataError: augmentation is on, but the data are not images.
        """
        size = self._settings.batch_size
        chosen = self._permutation(epoch)[step * size : (step + 1) * size]
        tree, transform = self._data.tree, self._data.transform
        chosen = chosen.to(pytree.tree_leaves(tree)[0].device)
        part = pytree.tree_map(lambda leaf: leaf[chosen], tree)
        if self._settings.augment == "none":
            return part if transform is None else transform(part)
        generator = torch.Generator().manual_seed(seed_of(self._settings.seed, 2, epoch, step))
        change = draw(len(chosen), self._settings.padding, generator)
        if isinstance(transform, ImageTransform):
            # Before mean and std, as in torchvision's recipes: the padding is black.
            images, labels = part
            return transform((change(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), labels))
        return _changed(part if transform is None else transform(part), change)

    def _permutation(self, epoch: int) -> torch.Tensor:
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(seed_of(self._settings.seed, 3, epoch))
            self._order = (epoch, torch.randperm(self._count, generator=generator))
        return self._order[1]


def _changed(batch: Any, change: CropFlip) -> Any:
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    if not pair or not isinstance(batch[0], torch.Tensor) or batch[0].dim() != 4:
        raise DataError(
            'train.augment = "crop_flip" needs batches of (images (B, C, H, W), labels); set train.augment = "none"',
            key="train.augment",
        )
    return change(batch[0]), batch[1]
