"""Wrong labels on purpose: how much of a network's fit is memory?"""

from __future__ import annotations

import torch

from lsweep.errors import DataError


def corrupt(labels: torch.Tensor, share: float, seed: int) -> torch.Tensor:
    """Give `share` of the examples, rounded to a whole number of them, another class, uniformly at random.

    Args:
        labels: (N,), integers from 0; there are `labels.max() + 1` classes.
        share: in [0, 1]; exactly so many labels of the result are wrong.
        seed: which ones, and what they become.

    Raises:
        DataError: labels are no class indices, or all of one class.
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
        raise DataError("train.label_noise needs at least two classes", key="train.label_noise")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    steps = torch.randint(1, classes, (len(chosen),), generator=generator).to(labels)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + steps) % classes
    return noisy
