"""Is a network in evaluation mode a function? Two passes over one batch must agree to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lsweep.errors import ModelError
from lsweep.weights import sha256


def require_deterministic(model: nn.Module, measure: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Call `measure` twice and return its result.

    Raises:
        ModelError: the results differ; the message names the module where chance comes in.
    """
    first = measure()
    second = measure()
    if _fingerprint(first) == _fingerprint(second):
        return first
    culprit = _find_random_module(model, measure)
    raise ModelError(
        f"two evaluations of the same weights and images differ: {culprit} is random in evaluation mode "
        "(dropout left on?); make it deterministic, a loss surface is a function of the weights",
        key=culprit,
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
