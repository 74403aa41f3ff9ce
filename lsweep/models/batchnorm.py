"""BatchNorm's running statistics away from the trained weights: fixed, moved along, or recalibrated.

A trained network's running mean and variance are those of its own activations. At other weights activations differ,
and the statistics are wrong there; between two solutions by so much that activations grow from layer to layer (the
line between two ResNet-20 reaches a loss of 8e11 at the other solution, whose true loss is small). The choices:

- *fixed* (`evaluate.batchnorm = "fixed"`, the released code's behaviour): the statistics of θ* everywhere. Right for
  small steps around a minimum, where it asks how the trained network as it is deployed responds to its weights.
- *recalibrate* (`evaluate.batchnorm = "recalibrate"`): at each point they are estimated anew from a fixed set of
  training images, as if the network had been trained to be there. Every point is a proper network; costs one forward
  pass over that set per point.
- *states* (`directions.space = "states"`): they move along the line like weights. Both ends are exact, what is between
  them is a mixture that belongs to no network; random directions can make a variance negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from lsweep.errors import DataError

# Examples per pass: the same on every device, since the statistics depend on it; as large as batches in training are.
BATCH_SIZE = 125


def with_statistics(model: nn.Module) -> list[_BatchNorm]:
    """The model's BatchNorm layers that keep running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_var is not None]


class Recalibration:
    """Estimates the running statistics of a network anew, in place.

    Every layer normalises with its batch's own statistics, as in training; the running mean becomes the mean over the
    batches of the batch's mean, the running variance that of its unbiased variance, each weighted by the batch's
    examples (a short last batch counts for less), in float64 and without momentum. So the result depends on the
    network's weights, the examples and the batch size, not on what the statistics were before. A batch of one
    example, of which there is no variance, is left out.

    Args:
        examples: with `batches(size)`, on the network's device.
        forward: runs the network on a batch.
        batch_size: examples per pass.
    """

    def __init__(
        self, examples: Any, forward: Callable[[nn.Module, Any], object], batch_size: int = BATCH_SIZE
    ) -> None:
        self._examples, self._forward, self._batch_size = examples, forward, batch_size

    def __call__(self, model: nn.Module) -> None:
        """Estimate the statistics at the model's present weights.

        Raises:
            DataError: no batch has two examples.
        """
        layers = with_statistics(model)
        sums = [_Sums(layer) for layer in layers]
        seen = 0
        with torch.no_grad(), batch_statistics(layers):
            for batch in self._examples.batches(self._batch_size):
                count = _count(batch)
                if count < 2:
                    continue
                for layer in layers:
                    layer.reset_running_stats()
                self._forward(model, batch)
                seen += count
                for total in sums:
                    total.add(count)
        if not seen:
            raise DataError("recalibration needs a batch of two examples or more", key="evaluate.batchnorm")
        for total in sums:
            total.store(seen)


class _Sums:
    """One layer's statistics, summed over batches."""

    def __init__(self, layer: _BatchNorm) -> None:
        self._layer = layer
        double = torch.float64 if layer.running_mean.device.type != "mps" else torch.float32  # type: ignore[union-attr]
        self._mean = torch.zeros_like(layer.running_mean, dtype=double)  # type: ignore[arg-type]
        self._var = torch.zeros_like(self._mean)

    def add(self, examples: int) -> None:
        assert self._layer.running_mean is not None and self._layer.running_var is not None
        self._mean += examples * self._layer.running_mean
        self._var += examples * self._layer.running_var

    def store(self, examples: int) -> None:
        assert self._layer.running_mean is not None and self._layer.running_var is not None
        self._layer.running_mean.copy_(self._mean / examples)
        self._layer.running_var.copy_(self._var / examples)


@contextmanager
def batch_statistics(layers: list[_BatchNorm]) -> Iterator[None]:
    """Training mode for these layers alone: each normalises with its batch's own statistics, and keeps them whole."""
    before = [(layer.training, layer.momentum) for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.momentum = True, None  # None: the mean over a layer's calls in one pass
        yield
    finally:
        for layer, (training, momentum) in zip(layers, before, strict=True):
            layer.training, layer.momentum = training, momentum


def _count(batch: Any) -> int:
    """The number of examples: the first tensor's length."""
    return next((len(t) for t in pytree.tree_leaves(batch) if isinstance(t, torch.Tensor) and t.dim()), 1)
