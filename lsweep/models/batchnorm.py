"""BatchNorm's running statistics away from the trained weights: fixed, moved with the weights, or recalibrated.

The running mean and variance of a trained network are those of its activations at the trained weights. At other weights
the activations differ and the statistics are wrong. Between two solutions they are so wrong that activations grow from
layer to layer (the line between two ResNet-20 reaches a loss of 8e11 at the other solution, whose true loss is small).
The choices are:

- *fixed* (`evaluate.batchnorm = "fixed"`, as in the released code): the statistics of θ* are used everywhere. This is
  appropriate for small steps around a minimum: it shows how the trained network, as deployed, responds to changes of
  its weights.
- *recalibrate* (`evaluate.batchnorm = "recalibrate"`): the statistics are estimated at each point from a fixed set of
  training images, as if training had led to these weights. Every point is a valid network. The cost is one forward pass
  over that set per point.
- *states* (`directions.space = "states"`): the statistics move along the line like weights. Both ends are exact, but
  the interpolated statistics in between belong to no network, and random directions can make a variance negative.
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

# Examples per pass: the same on every device, because the statistics depend on it; typical of batches in training.
BATCH_SIZE = 125


def with_statistics(model: nn.Module) -> list[_BatchNorm]:
    """The model's BatchNorm layers with running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_var is not None]


class Recalibration:
    """Re-estimates the running statistics of a network in place.

    Every layer normalises with the statistics of its batch, as in training. The running mean becomes the average of the
    batch means and the running variance the average of the unbiased batch variances, weighted by the number of examples
    (a short last batch has less weight), in float64 and without momentum. So the result depends on the network's
    weights, the examples and the batch size, but not on the previous statistics. A batch of one example has no variance
    and is left out.

    Args:
        examples: a data set with a method `batches(size)`, on the network's device.
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
            raise DataError(
                "recalibration needs a batch of two examples or more, and there is none; give larger batches or set "
                'evaluate.batchnorm = "fixed"',
                key="evaluate.batchnorm",
            )
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
    """Set these layers alone to training mode, without momentum: each uses and stores the statistics of its batch."""
    before = [(layer.training, layer.momentum) for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.momentum = True, None  # None: the average over a layer's calls in one pass
        yield
    finally:
        for layer, (training, momentum) in zip(layers, before, strict=True):
            layer.training, layer.momentum = training, momentum


def _count(batch: Any) -> int:
    """The number of examples, which is the length of the first tensor."""
    return next((len(t) for t in pytree.tree_leaves(batch) if isinstance(t, torch.Tensor) and t.dim()), 1)
