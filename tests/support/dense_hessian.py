"""The dense Hessian of a network's mean loss, by autograd in float64."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from lsweep.evaluate.objective import LOSSES


def flat_data(width: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(11, *shape, width, generator=rng), torch.randint(3, (11,), generator=rng)


def dense(model: nn.Module, data: Any, loss: str, moved: list[bool] | None = None) -> np.ndarray:
    """By autograd's own hessian of the plain mean loss, in float64."""
    wide = copy.deepcopy(model).double().eval()
    names = [name for name, _ in wide.named_parameters()]
    parameters = [p.detach() for p in wide.parameters()]
    keep = [i for i in range(len(names)) if moved is None or moved[i]]
    sizes = [parameters[i].numel() for i in keep]

    def total(vector: torch.Tensor) -> torch.Tensor:
        own = dict(zip(names, parameters, strict=True))
        for index, piece in zip(keep, vector.split(sizes), strict=True):
            own[names[index]] = piece.view(parameters[index].shape)
        return LOSSES[loss](functional_call(wide, own, (data[0].double(),)), data[1]).mean()

    start = torch.cat([parameters[i].reshape(-1) for i in keep])
    with sdpa_kernel(SDPBackend.MATH):
        found: torch.Tensor = torch.autograd.functional.hessian(total, start)
    return found.numpy()
