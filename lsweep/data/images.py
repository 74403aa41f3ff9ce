"""Images stored as bytes, and their transform to the network's input."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lsweep.data.resident import ResidentData
from lsweep.errors import DataError

Channels = tuple[float, ...]


@dataclass(frozen=True)
class ImageTransform:
    """Maps (images (B, H, W, C), labels (B,)) to (images (B, C, H, W) float32, labels), on the images' device.

    Bytes are divided by 255. Then `mean` is subtracted and the result divided by `std`, per channel. These are the
    operations of torchvision's ToTensor and Normalize in the same order, so the results have the same bits.
    The result is a permuted view, channels_last in memory, for which convolutions are fast.
    """

    mean: Channels | None = None
    std: Channels | None = None

    def __call__(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Transform one batch; `batch` itself is not modified."""
        images, labels = batch
        is_bytes = images.dtype == torch.uint8
        images = images.permute(0, 3, 1, 2).to(torch.float32, copy=True)
        if is_bytes:
            # Division by a tensor, because CUDA replaces division by a number by a product with its rounded reciprocal.
            images.div_(_per_channel((255.0,), images.device))
        if self.mean is not None:
            images.sub_(_per_channel(self.mean, images.device))
        if self.std is not None:
            images.div_(_per_channel(self.std, images.device))
        return images, labels


@functools.lru_cache(maxsize=32)
def _per_channel(values: Channels, device: torch.device) -> Tensor:
    # Cached, because a captured CUDA graph must not copy constants from the host. Not an inference tensor, because
    # the first call may be under inference_mode and a later use under autograd.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)


def image_data(images: np.ndarray, labels: np.ndarray, config: Any) -> ResidentData:
    """Make a classification data set from arrays.

    Args:
        images: (N, H, W, C), uint8 or float32.
        labels: (N,) int64.
        config: a configuration whose `mean` and `std` are applied.

    Raises:
        DataError: `mean` or `std` does not fit the channels or has invalid values.
    """
    _check_statistics("data.mean", config.mean, images.shape[3])
    _check_statistics("data.std", config.std, images.shape[3])
    if config.std is not None and min(config.std) <= 0:
        raise DataError(f"data.std must be positive, got {list(config.std)}", key="data.std")
    tree = (torch.from_numpy(images), torch.from_numpy(labels))
    return ResidentData(tree, ImageTransform(config.mean, config.std))


def _check_statistics(key: str, values: Channels | None, channels: int) -> None:
    if values is None:
        return
    if len(values) != channels:
        raise DataError(
            f"{key} needs one value per channel; got {len(values)} values for images (N, height, width, channels) with "
            f"{channels} channels",
            key=key,
        )
    if not all(math.isfinite(value) for value in values):
        raise DataError(f"{key} must be finite, got {list(values)}", key=key)
