"""BatchNorm folded into the convolution before it: the same function of the weights, with fewer passes over memory.

In evaluation mode BatchNorm is y ↦ γ(y − μ)/√(σ² + ε) + β. Where γ, μ and σ² do not move, folding is linear in
the convolution's weight and bias and in β, so θ* and each direction are folded once, and
fold(θ*) + α·fold(d) = fold(θ* + α·d). Filter norms belong to the network as it is: normalise first, fold then.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from lsweep.weights import WeightSpace, weight_space

Tensors = list[torch.Tensor]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Unfoldable(Exception):
    """Why a network is evaluated as it is. Not an error: the unfolded network is always right."""


@dataclass(frozen=True)
class Folded:
    """A network with folded BatchNorm, and what moves in it.

    Attributes:
        model: a copy of the network; the original is untouched.
        space: its parameters.
        directions: one list of tensors per axis, for `space`.
        count: how many BatchNorm layers are gone.
    """

    model: nn.Module
    space: WeightSpace
    directions: list[Tensors]
    count: int


def fold(
    model: nn.Module, space: WeightSpace, directions: Sequence[Tensors], dtype: torch.dtype = torch.float32
) -> Folded:
    """Fold what can be folded exactly.

    Args:
        model: the network at θ*.
        space: what moves; parameters only.
        directions: one list of tensors per axis, as for `space`.
        dtype: what the folded network and directions are rounded to, on the CPU; fold in the precision of the
            sweep, since a folded weight has more digits than the two it comes from.

    Raises:
        Unfoldable: torch.fx cannot trace the network, running statistics move, or nothing is there to fold.
    """
    if any(entry.is_buffer for entry in space.entries):
        raise Unfoldable("running statistics move")
    traced = _trace(model, dtype)
    moved = [_by_name(model, space, direction, dtype) for direction in directions]
    pairs = _pairs(traced, moved)
    for conv, norm in pairs:
        _fold_pair(traced, conv, norm, moved)
    if not pairs:
        raise Unfoldable("it has no BatchNorm that directly follows a convolution and stays fixed")
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    folded_space = weight_space(traced)
    folded = [[table[entry.name] for entry in folded_space.entries] for table in moved]
    return Folded(traced, folded_space, folded, len(pairs))


def require_same(model: nn.Module, folded: nn.Module, batch: Any) -> None:
    """Compare both networks on a batch (input, target), in evaluation mode, each on its device in its precision.

    Raises:
        Unfoldable: they differ by more than rounding: tracing must have lost something; or the batch does not fit.
    """
    try:
        expected, got = _output(model, batch), _output(folded, batch)
    except Exception as error:  # what is wrong with it is told where the network as it is meets the data
        raise Unfoldable(f"it cannot be tried on a batch ({type(error).__name__})") from None
    if not isinstance(expected, torch.Tensor) or not isinstance(got, torch.Tensor):
        raise Unfoldable("its output is no tensor")
    finite = expected[expected.isfinite()]  # a network that overflows is swept like any other
    scale = finite.abs().max().item() if len(finite) else 0.0
    if expected.shape != got.shape or not torch.allclose(
        expected, got, rtol=0, atol=1e-3 * scale, equal_nan=True
    ):
        raise Unfoldable("its traced form computes something else")


def _output(network: nn.Module, batch: Any) -> Any:
    like = next(p for p in network.parameters() if p.is_floating_point())

    def fit(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(like.device, like.dtype if tensor.is_floating_point() else tensor.dtype)

    with torch.no_grad():
        output = network(pytree.tree_map_only(torch.Tensor, fit, batch[0]))
    return output.double().cpu() if isinstance(output, torch.Tensor) else output


def _by_name(
    model: nn.Module, space: WeightSpace, direction: Tensors, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """A direction's tensors under every name that the model has for them: tied ones have several."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    of = {id(parameters[e.name]): d.to(dtype) for e, d in zip(space.entries, direction, strict=True)}
    return {name: of[id(parameter)] for name, parameter in parameters.items() if id(parameter) in of}


def _trace(model: nn.Module, dtype: torch.dtype) -> fx.GraphModule:
    try:
        duplicate = copy.deepcopy(model).to(device="cpu", dtype=dtype).eval()
        return fx.symbolic_trace(duplicate)
    except Exception as error:  # tracing runs the user's forward: anything can come out of it
        reason = (str(error).splitlines() or [""])[0]
        raise Unfoldable(f"torch.fx cannot trace it ({type(error).__name__}: {reason})") from None


def _pairs(traced: fx.GraphModule, moved: list[dict[str, torch.Tensor]]) -> list[tuple[fx.Node, fx.Node]]:
    modules = dict(traced.named_modules())
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    owners = Counter(id(p) for m in modules.values() for p in m._parameters.values() if p is not None)
    found = []
    for norm in traced.graph.nodes:
        conv = norm.args[0] if norm.op == "call_module" and norm.args else None
        if not isinstance(conv, fx.Node) or conv.op != "call_module" or len(conv.users) != 1:
            continue
        first, second = modules[str(conv.target)], modules[str(norm.target)]
        if type(first) not in _CONVOLUTIONS or type(second) not in NORMS or second.running_var is None:
            continue
        if not calls[conv.target] == calls[norm.target] == 1:
            continue
        if any(owners[id(p)] > 1 for m in (first, second) for p in m.parameters()):
            continue
        # A hook may make the weight (weight_norm, spectral_norm) or change the output.
        if any(m._forward_pre_hooks or m._forward_hooks for m in (first, second)):
            continue
        if second.affine and any(bool(table[f"{norm.target}.weight"].any()) for table in moved):
            continue
        found.append((conv, norm))
    return found


def _fold_pair(
    traced: fx.GraphModule, conv: fx.Node, norm: fx.Node, moved: list[dict[str, torch.Tensor]]
) -> None:
    """Fold one BatchNorm, in float64, and the directions of the two layers with it."""
    layer, batchnorm = traced.get_submodule(str(conv.target)), traced.get_submodule(str(norm.target))
    assert isinstance(layer, _CONVOLUTIONS) and isinstance(batchnorm, NORMS)
    assert batchnorm.running_mean is not None and batchnorm.running_var is not None
    scale = (batchnorm.running_var.double() + batchnorm.eps).rsqrt()
    shift = torch.zeros_like(scale)
    if batchnorm.affine:
        scale, shift = scale * batchnorm.weight.detach().double(), batchnorm.bias.detach().double()
    per_filter = scale.view(-1, *[1] * (layer.weight.dim() - 1))
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().double()
    had_bias = layer.bias is not None
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter((layer.weight.detach().double() * per_filter).to(dtype))
    layer.bias = nn.Parameter(((bias - batchnorm.running_mean.double()) * scale + shift).to(dtype))
    for table in moved:
        weight, offset = f"{conv.target}.weight", f"{conv.target}.bias"
        table[weight] = (table[weight].double() * per_filter).to(dtype)
        moving = table[offset].double() * scale if had_bias else torch.zeros_like(scale)
        if batchnorm.affine:
            moving = moving + table[f"{norm.target}.bias"].double()
        table[offset] = moving.to(dtype)
    norm.replace_all_uses_with(conv)
    traced.graph.erase_node(norm)
