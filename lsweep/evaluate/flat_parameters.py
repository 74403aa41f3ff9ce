"""A network whose parameters are views of one flat vector, moved through weight space in place and restored afterwards.

θ(α, β) = θ* + α·d₁ + β·d₂ takes one kernel per axis; the network, the data and the vectors stay on the device.
`isolated` preserves the caller's random numbers, modes and current GPU.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from lsweep.evaluate.objective import Objective
from lsweep.models.parameters import WeightSpace


class Examples(Protocol):
    """The interface of a data set that the evaluator needs (`lsweep.data` has two implementations)."""

    def to(self, device: torch.device) -> Examples:
        """The same examples in the memory of a device."""
        ...

    def batches(self, size: int) -> Iterator[Any]:
        """Batches of `size` examples, in order."""
        ...


@dataclass(frozen=True)
class FlatNetwork:
    """A borrowed network and its examples, on one device in one precision.

    Attributes:
        model: its moving tensors are views of `flat`.
        splits: name → examples, the first one under the plain metric names.
        objective: see `objective`.
        space: the tensors that move.
        theta: the centre θ*, (space.size,).
        directions: one vector per axis, (space.size,).
        flat: the current weights, (space.size,).
        settle: called after every move, for example to recalibrate BatchNorm.
    """

    model: nn.Module
    splits: Mapping[str, Any]
    objective: Objective
    space: WeightSpace
    theta: torch.Tensor
    directions: Sequence[torch.Tensor]
    flat: torch.Tensor
    settle: Callable[[nn.Module], None] | None = None

    def move(self, point: Sequence[float] | np.ndarray) -> None:
        """Set the network's weights to θ* + Σ point[i]·d[i], in place."""
        # On a GPU the host queues these kernels while the batches of the previous point still run. Computing weights in
        # advance, in a second buffer, would change the addresses in recorded batches; on the CPU it would take cores
        # from the batches.
        source = self.theta
        for coordinate, direction in zip(point, self.directions, strict=True):
            torch.add(source, direction, alpha=float(coordinate), out=self.flat)
            source = self.flat
        if self.settle is not None:
            self.settle(self.model)


class Cast:
    """Examples with floating tensors in the precision of the weights.

    Args:
        examples: the examples, cast batch by batch.
        dtype: the precision.
        layout: memory format of the tensors.
    """

    def __init__(
        self, examples: Any, dtype: torch.dtype, layout: torch.memory_format = torch.preserve_format
    ) -> None:
        self._examples, self._dtype, self._layout = examples, dtype, layout
        self.tree = getattr(examples, "tree", None)
        # Batches from the user's loader are not divided again.
        self.can_select = getattr(examples, "can_select", hasattr(examples, "select"))

    def to(self, device: torch.device) -> Cast:
        """See `Examples`."""
        return Cast(self._examples.to(device), self._dtype, self._layout)

    def batches(self, size: int) -> Iterator[Any]:
        """See `Examples`."""
        for batch in self._examples.batches(size):
            yield pytree.tree_map_only(torch.Tensor, self._cast, batch)

    def select(self, indices: torch.Tensor, size: int) -> Iterator[Any]:
        """See `lsweep.data.ResidentData`; only if `can_select`."""
        for batch in self._examples.select(indices, size):
            yield pytree.tree_map_only(torch.Tensor, self._cast, batch)

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        return tensor.to(self._dtype, memory_format=self._layout)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards the mode of every module is restored."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards parameters, buffers and modes are restored, also after an error."""
    parameters = [(p, p.data, p.grad) for p in model.parameters()]
    buffers = [(m, dict(m._buffers)) for m in model.modules()]
    for parameter, _, _ in parameters:
        parameter.grad = None  # `Module.to` would convert it, in place
    for module, own in buffers:
        module._buffers.update({name: b.clone() for name, b in own.items() if b is not None})
    try:
        with evaluation_mode(model):
            yield
    finally:
        for parameter, data, grad in parameters:
            parameter.data = data
            parameter.grad = grad
        for module, own in buffers:
            module._buffers.clear()
            module._buffers.update(own)


@contextmanager
def isolated() -> Iterator[None]:
    """Ignore the caller's modes, and restore the caller's state at the end; a context manager or decorator.

    Inside, autocast is off and gradients are possible in any mode of the caller: a validation hook runs in inference
    mode, where tensors cannot become parameters. Afterwards the states of the global generators of Python, numpy and
    torch (CPU and CUDA), from which loaders draw, and the current GPU are restored.
    """
    python, legacy = random.getstate(), np.random.get_state()
    # An unused GPU has no generator yet, and requesting it would allocate a context.
    cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(cards))
        if cards:
            stack.enter_context(torch.cuda.device(torch.cuda.current_device()))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
