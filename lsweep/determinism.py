"""Is a network in evaluation mode a function? Two passes over one batch must agree to the last bit.

On a GPU to rounding: some operations have no deterministic kernel, and where memory is short cuDNN takes others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lsweep.errors import ModelError
from lsweep.weights import sha256

log = logging.getLogger("lsweep")

# Of the largest value: two orders of a sum in fp32 differ by less, and anything drawn at random by more.
ROUNDING = 1e-4


def require_deterministic(model: nn.Module, measure: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Call `measure` twice and return its result; of a GPU's that differ by rounding the second one, and warn.

    Raises:
        ModelError: the results differ; the message names the module where chance comes in.
    """
    first = measure()
    second = measure()
    if _fingerprint(first) == _fingerprint(second):
        return first
    if _is_of_gpu(first) and differs_by_rounding(first, second):
        log.warning(
            "two evaluations of the same weights and images differ by rounding: this GPU has no deterministic kernels "
            "for all of the network, and a repeated sweep will not have the same bits"
        )
        return second
    culprit = _find_random_module(model, measure)
    raise ModelError(
        f"two evaluations of the same weights and images differ: {culprit} is random in evaluation mode "
        "(dropout left on?); make it deterministic, a loss surface is a function of the weights",
        key=culprit,
    )


def differs_by_rounding(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether all tensors of two results agree to `ROUNDING`; integers, to the last one."""
    pairs = [
        (a, b)
        for a, b in zip(pytree.tree_leaves(dict(one)), pytree.tree_leaves(dict(other)), strict=True)
        if isinstance(a, torch.Tensor)
    ]
    return all(_near(a, b) for a, b in pairs)


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and torch.equal(one, other)
    finite = one[one.isfinite()].abs()
    scale = finite.max().item() if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=ROUNDING * scale, equal_nan=True)


def _is_of_gpu(result: Mapping[str, Any]) -> bool:
    return any(
        isinstance(leaf, torch.Tensor) and leaf.device.type == "cuda"
        for leaf in pytree.tree_leaves(dict(result))
    )


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
