"""Small data sets that several tests use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def arrays(n: int, first: int = 0, shape: tuple[int, ...] = (4, 5, 3)) -> dict[str, np.ndarray]:
    """N random images; the labels count on from `first`."""
    images = np.random.default_rng(first).integers(0, 256, (n, *shape), dtype=np.uint8)
    return {"images": images, "labels": np.arange(first, first + n)}


def joined(data: Any, size: int = 4) -> list[torch.Tensor]:
    """All batches, leaf by leaf."""
    return [torch.cat(leaves) for leaves in zip(*data.batches(size), strict=True)]
