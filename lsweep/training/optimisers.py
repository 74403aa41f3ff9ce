"""Torch optimisers with the defaults of [Li18], learning rate schedules, and optimiser state as named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from lsweep.config import TrainConfig
from lsweep.errors import CheckpointError


def make(config: TrainConfig, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Make SGD with (Nesterov) momentum, or Adam; for both, weight decay is an L2 term of the loss."""
    if config.optimizer == "adam":
        return torch.optim.Adam(
            parameters,
            lr=config.lr,
            betas=(config.betas[0], config.betas[1]),
            eps=config.eps,
            weight_decay=config.weight_decay,
        )
    return torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov and config.momentum > 0,
    )


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 1; it drops after each epoch in `drops`."""
    rate = config.lr
    for drop in config.drops:
        if epoch > drop:
            rate *= config.drop_factor
    return rate


def state_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state, "3.momentum_buffer" → tensor, where 3 is the parameter's index; values of None are omitted."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, own in state.items()
        for name, value in own.items()
        if value is not None
    }


def restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Load the state returned by `state_tensors` into a new optimiser.

    Raises:
        CheckpointError: the state, read from the file `where`, belongs to another network.
    """
    own = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        if not index.isdecimal() or int(index) >= len(own):
            raise CheckpointError(f"{where!r}: the optimiser state {key!r} fits no parameter", key=where)
        if tensor.dim() > 0 and tensor.shape != own[int(index)].shape:
            raise CheckpointError(
                f"{where!r}: the optimiser state {key!r} has shape {tuple(tensor.shape)}, expected that of its "
                f"parameter, {tuple(own[int(index)].shape)}",
                key=where,
            )
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
