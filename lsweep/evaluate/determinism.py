"""Determinism check: two passes over one batch in evaluation mode must agree to the last bit.

On a GPU they must agree up to rounding: some operations have no deterministic kernel, and cuDNN chooses others if
memory is short.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lsweep.errors import ModelError
from lsweep.models.parameters import sha256

log = logging.getLogger("lsweep")

# Relative to the largest loss of a batch, but at least to 1: losses near zero are differences of outputs of about ten.
# Different orders of summation in fp32 differ by less.
ROUNDING = 1e-4


def repeats(measure: Callable[[], Mapping[str, Any]]) -> bool:
    """Whether two calls give the same bits."""
    return _fingerprint(measure()) == _fingerprint(measure())


def require_deterministic(model: nn.Module, measure: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Call `measure` twice and return its result; if two GPU results differ by rounding, return the second and warn.

    Raises:
        ModelError: the results differ; the message names the module that is random.
    """
    first = measure()
    second = measure()
    if _fingerprint(first) == _fingerprint(second):
        return first
    if _is_of_gpu(first) and differs_by_rounding(first, second):
        warn_once()
        return second
    culprit = _find_random_module(model, measure)
    raise ModelError(
        f"two evaluations of the same weights and images differ: {culprit} is random in evaluation mode "
        "(dropout left on?); make it deterministic, because a loss surface is a function of the weights",
        key=culprit,
    )


@functools.cache
def warn_once() -> None:
    """Warn once per process that a sweep is not bitwise reproducible."""
    log.warning(
        "two evaluations of the same weights and images differ by rounding: this GPU has no deterministic kernels "
        "for all of the network, so a repeated sweep will not be bitwise equal"
    )


def differs_by_rounding(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the losses of two results agree to `ROUNDING`; accuracies may differ where scores tie."""
    a, b = (_losses(result) for result in (one, other))
    if a is None or b is None or a.shape != b.shape:
        return False
    finite = a[a.isfinite()].abs()
    scale = max(1.0, finite.max().item() if finite.numel() else 0.0)
    return torch.allclose(a, b, rtol=0.0, atol=ROUNDING * scale, equal_nan=True)


def _losses(result: Mapping[str, Any]) -> torch.Tensor | None:
    leaves = pytree.tree_leaves(result.get("loss"))
    return leaves[0] if leaves and isinstance(leaves[0], torch.Tensor) else None


def _is_of_gpu(result: Mapping[str, Any]) -> bool:
    losses = _losses(result)
    return losses is not None and losses.device.type == "cuda"


def _find_random_module(model: nn.Module, measure: Callable[[], Any]) -> str:
    """Name the first innermost module whose inputs agree between two passes and whose outputs do not."""
    calls: list[tuple[str, str, str]] = []
    handles: list[Any] = []
    for name, module in model.named_modules():
        entered: list[str] = []  # before the call: a module may work in place on its inputs

        def enter(module: nn.Module, inputs: Any, entered: list[str] = entered) -> None:
            entered.append(_fingerprint(inputs))

        def leave(
            module: nn.Module, inputs: Any, output: Any, name: str = name, entered: list[str] = entered
        ) -> None:
            label = f"{name or 'the network'} ({type(module).__name__})"
            calls.append((label, entered.pop(), _fingerprint(output)))

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        measure()
        first, calls[:] = list(calls), []
        measure()
    finally:
        for handle in handles:
            handle.remove()
    # Forward hooks fire when a module returns, so inner modules come before the ones that call them.
    for (label, inputs, output), (_, inputs_again, output_again) in zip(first, calls, strict=False):
        if inputs == inputs_again and output != output_again:
            return label
    return "the objective"


def _fingerprint(tree: Any) -> str:
    leaves = [leaf for leaf in pytree.tree_leaves(dict(tree) if isinstance(tree, Mapping) else tree)]
    return sha256(*(leaf for leaf in leaves if isinstance(leaf, torch.Tensor)))
