"""Objectives: losses, accuracy and metrics of a batch, as values per example with weights.

An objective is any callable `(model, batch) → {name: (values (B,), weights (B,))}`. The value at a point is
Σ weights·values / Σ weights over all batches, in float64. A bare tensor of values has weights of one. Every
objective names "loss".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lsweep.config import EvaluateConfig
from lsweep.errors import ConfigError, DataError, InputError, nearest
from lsweep.tools import plugins

Weighted = tuple[torch.Tensor, torch.Tensor | None]
Objective = Callable[[nn.Module, Any], Mapping[str, Any]]
PerExample = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy of class scores, per example.

    Args:
        output: (B, C) or (B, C, d1, …) scores.
        target: (B,) or (B, d1, …) class indices, or class probabilities shaped like `output`.

    Returns:
        (B,), averaged over d1, … if present.

    Raises:
        DataError: there is only one output, for which this loss is always zero.
    """
    if output.dim() > 1 and output.shape[1] == 1 and not target.is_floating_point():
        raise DataError(
            'loss "cross_entropy" needs an output per class, the network has one; for a binary classifier name '
            "a loss of your own (evaluate.loss)"
        )
    return _per_example(F.cross_entropy(output, target, reduction="none"))


def mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error of a regression, (B,): the mean over each example's elements.

    Raises:
        DataError: output and target differ in shape (a silent broadcast would be wrong).
    """
    if output.dim() == target.dim() + 1 and output.shape[-1] == 1:
        target = target.unsqueeze(-1)
    if output.shape != target.shape:
        raise DataError(
            f'loss "mse" needs output and target of the same shape, got {tuple(output.shape)} and '
            f'{tuple(target.shape)}; for classes use "mse_softmax"'
        )
    return _per_example((output - target.to(output.dtype)) ** 2)


def mse_softmax(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mse of [Li18]'s released code, (B,): the mean over classes of (softmax − one-hot)².

    Args:
        output: (B, C) scores.
        target: (B,) class indices.

    Raises:
        DataError: other shapes or types.
    """
    if output.dim() != 2 or not _classes(output, target):
        raise DataError(
            'loss "mse_softmax" needs scores (B, C) and class indices (B,), got '
            f"{tuple(output.shape)} and {target.dtype} {tuple(target.shape)}"
        )
    one_hot = F.one_hot(target.long(), output.shape[1])
    return ((output.softmax(dim=1) - one_hot) ** 2).mean(dim=1)


def accuracy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Whether the largest score is that of the target, (B,), 0 or 1; the mean over positions if there are several."""
    # `max` instead of `argmax`, as in the released code: the two may treat ties and NaN differently.
    predicted = output.max(dim=1).indices
    return _per_example((predicted == target).to(torch.float32))


LOSSES: dict[str, PerExample] = {"cross_entropy": cross_entropy, "mse": mse, "mse_softmax": mse_softmax}


class Supervised:
    """The objective of batches `(input, target)`: a loss, the accuracy if targets are classes, and metrics.

    Args:
        loss: `(output, target) → (B,)`.
        metrics: name → the same, averaged over the examples.
    """

    def __init__(self, loss: PerExample, metrics: Mapping[str, PerExample] | None = None) -> None:
        self.loss, self.metrics = loss, dict(metrics or {})

    @property
    def is_own(self) -> bool:
        """Whether all parts are lsweep's own, stateless and thread-safe."""
        return not self.metrics and any(self.loss is own for own in LOSSES.values())

    def __call__(self, model: nn.Module, batch: Any) -> dict[str, Weighted]:
        """Evaluate one batch."""
        inputs, target = _pair(batch)
        output = model(inputs)
        if not isinstance(output, torch.Tensor):
            raise InputError(
                f"the network returns {type(output).__name__}, not a tensor; write an objective for it, "
                'a function of the model and a batch: evaluate.objective = "file.py:function"'
            )
        return self.measure(output, target)

    def measure(self, output: torch.Tensor, target: torch.Tensor) -> dict[str, Weighted]:
        """The loss and the metrics of outputs (B, …) and targets (B, …)."""
        values: dict[str, Weighted] = {"loss": (self.loss(output, target), None)}
        if _classes(output, target):
            values["accuracy"] = (accuracy(output, target), None)
        for name, metric in self.metrics.items():
            values[name] = (metric(output, target), None)
        return values


def from_config(config: EvaluateConfig) -> Objective:
    """The objective of a configuration: a user's objective, or a loss with metrics.

    Raises:
        ConfigError: an unknown loss or metric, or a function that cannot be found.
    """
    if config.objective is not None:
        if config.own_metrics:
            raise ConfigError(
                "evaluate.metrics needs evaluate.loss; an objective returns its own metrics",
                key="evaluate.metrics",
            )
        objective: Objective = _function(config.objective, "evaluate.objective")
        return objective
    if config.loss in LOSSES:
        loss = LOSSES[config.loss]
    elif ":" in config.loss:
        loss = _function(config.loss, "evaluate.loss")
    else:
        raise ConfigError(
            f'unknown loss {config.loss!r}{nearest(config.loss, LOSSES)}; your own is "package.module:function"',
            key="evaluate.loss",
        )
    metrics = [_metric(text) for text in config.own_metrics]
    for name, times in Counter(name for name, _ in metrics).items():
        if times > 1:
            raise ConfigError(f"the metric {name!r} is given twice", key="evaluate.metrics")
    return Supervised(loss, dict(metrics))


def _metric(text: str) -> tuple[str, PerExample]:
    name, equals, spec = (part.strip() for part in text.partition("="))
    if not equals or ":" not in spec:
        raise ConfigError(
            f'unknown metric {text!r}; loss and accuracy are always measured; others are "hessian" and your own, as '
            '"name = package.module:function" or "name = file.py:function"',
            key="evaluate.metrics",
        )
    if name in ("loss", "accuracy"):
        raise ConfigError(f"the metric {name!r} exists already; choose another name", key="evaluate.metrics")
    return name, _function(spec, "evaluate.metrics")


def _function(spec: str, what: str) -> Any:
    function = plugins.resolve(spec, what=what)
    if not callable(function):
        raise ConfigError(f"{what}: {spec!r} is not a function but {type(function).__name__}", key=what)
    return function


def check_labels(model: nn.Module, examples: Any, batch_size: int) -> None:
    """Run the network on a first batch, and check that it has an output for every class label of the data.

    Args:
        model: the network, on the examples' device.
        examples: has `batches(size)`, and `tree` if all labels are available at once.
        batch_size: examples per forward pass.

    Raises:
        DataError: the network cannot evaluate the batch, or has no output for a label.
    """
    batch = next(examples.batches(batch_size))
    inputs, target = _pair(batch)
    try:
        output = model(inputs)
    except Exception as error:
        shape = tuple(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"the network cannot take a batch of this data, input {shape}: {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(output, torch.Tensor) or not _classes(output, target) or target.numel() == 0:
        return
    tree = getattr(examples, "tree", None)
    every = tree[1] if isinstance(tree, (tuple, list)) and len(tree) == 2 else target
    low, high = int(every.min()), int(every.max())
    if low < 0 or high >= output.shape[1]:
        raise DataError(
            f"labels run from {low} to {high}, but the network has {output.shape[1]} outputs "
            f"(labels 0 to {output.shape[1] - 1}); is it the right network for this data?"
        )


def _classes(output: torch.Tensor, target: torch.Tensor) -> bool:
    # With a single output (a regression or binary classifier) the largest score is meaningless.
    integer = not target.is_floating_point() and not target.is_complex() and target.dtype != torch.bool
    scores = output.dim() >= 2 and output.shape[1] > 1
    return integer and scores and target.shape == output.shape[:1] + output.shape[2:]


def _pair(batch: Any) -> tuple[Any, torch.Tensor]:
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[1], torch.Tensor):
        return batch[0], batch[1]
    raise DataError(
        f"a batch must be (input, target) for this loss, got {type(batch).__name__}; "
        "for other batches write an objective (evaluate.objective)"
    )


def _per_example(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).mean(dim=1) if values.dim() > 1 else values
