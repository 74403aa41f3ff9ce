"""BatchNorm folding into the preceding convolution: the same function with fewer passes over memory.

In evaluation mode BatchNorm is y ↦ γ(y − μ)/√(σ² + ε) + β. Where γ, μ and σ² do not move, folding is linear in
the convolution's weight and bias and in β, so θ* and each direction are folded once, and
fold(θ*) + α·fold(d) = fold(θ* + α·d). Filter norms refer to the unfolded network, so directions are normalised before
folding.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from lsweep.evaluate.kernels.fusion import OURS
from lsweep.models.parameters import WeightSpace, tensors_of, weight_space

Tensors = list[torch.Tensor]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Unfoldable(Exception):
    """The reason why a network is not folded. Not an error: the unfolded network is always correct."""


@dataclass(frozen=True)
class Fold:
    """The folding of a BatchNorm into the preceding convolution, applied to weights and directions alike.

    Attributes:
        conv, norm: the layers' names.
        scale: (out,) float64, the factor of each filter.
        had_bias: whether the convolution had a bias, which a direction may move.
        affine: whether the BatchNorm had γ and β.
    """

    conv: str
    norm: str
    scale: torch.Tensor
    had_bias: bool
    affine: bool

    def weight(self, weight: torch.Tensor) -> torch.Tensor:
        """The convolution's weight, at θ* or along a direction, folded: float64."""
        per_filter = self.scale.view(-1, *[1] * (weight.dim() - 1))
        return weight.detach().to(torch.float64, copy=True).mul_(per_filter)

    def bias(self, direction: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The folded bias, (out,) float64."""
        moving = torch.zeros_like(self.scale)
        if self.had_bias:
            moving = direction[f"{self.conv}.bias"].double() * self.scale
        return moving + direction[f"{self.norm}.bias"].double() if self.affine else moving


@dataclass(frozen=True)
class Folded:
    """A network with folded BatchNorm, and its parameter space.

    Attributes:
        model: a copy of the network with flat parameters; the original is unchanged.
        space: its parameters.
        folds: the folded BatchNorm layers.
        names: entry of the original space → all its names in the original; tied parameters have several.
    """

    model: nn.Module
    space: WeightSpace
    folds: tuple[Fold, ...]
    names: tuple[tuple[str, ...], ...]

    def direction(self, direction: Tensors) -> Tensors:
        """Convert a direction of the original space to a flat one for `space`, in the network's precision."""
        table = _by_name(self.names, direction)
        table |= {f"{fold.conv}.bias": fold.bias(table) for fold in self.folds}
        dtype = tensors_of(self.model, self.space)[0].dtype
        return _laid_flat(self.space, [table[e.name] for e in self.space.entries], self.folds, dtype)


def fold(
    model: nn.Module, space: WeightSpace, directions: Sequence[Tensors], dtype: torch.dtype = torch.float32
) -> Folded:
    """Fold every BatchNorm that can be folded exactly.

    Args:
        model: the network at θ*.
        space: the tensors that move; parameters only.
        directions: one list of tensors per axis, for `space`; a BatchNorm whose γ moves is not folded.
        dtype: precision to which the folded network and directions are rounded, on the CPU; that of the sweep, because
            a folded weight has more digits than its two factors.

    Raises:
        Unfoldable: torch.fx cannot trace the network, running statistics move, or there is nothing to fold.
    """
    if any(entry.is_buffer for entry in space.entries):
        raise Unfoldable("running statistics move")
    traced = _trace(model, dtype)
    names = _names(model, space)
    pairs = _pairs(traced, [_by_name(names, direction) for direction in directions])
    folds = tuple(_fold_pair(traced, conv, norm) for conv, norm in pairs)
    if not folds:
        raise Unfoldable("it has no BatchNorm that directly follows a convolution and stays fixed")
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    traced.meta[OURS] = True
    folded_space = weight_space(traced)
    unfolded = tensors_of(traced, folded_space)
    for tensor, view in zip(unfolded, _laid_flat(folded_space, unfolded, folds, dtype), strict=True):
        tensor.data = view
    return Folded(traced, folded_space, folds, names)


def require_same(model: nn.Module, folded: nn.Module, batch: Any) -> None:
    """Compare both networks on a batch (input, target) in evaluation mode, each on its own device and precision.

    Raises:
        Unfoldable: they differ by more than rounding, so tracing has changed the function; or the batch does not fit.
    """
    try:
        expected, got = _output(model, batch), _output(folded, batch)
    except Exception as error:  # the error is reported when the original network is evaluated
        raise Unfoldable(f"it cannot be evaluated on a batch ({type(error).__name__})") from None
    if not isinstance(expected, torch.Tensor) or not isinstance(got, torch.Tensor):
        raise Unfoldable("its output is not a tensor")
    finite = expected[expected.isfinite()].abs()
    if not len(finite):  # a diverged training: a comparison is impossible
        raise Unfoldable("its output is not finite")
    scale = finite.max().item()
    if expected.shape != got.shape or not torch.allclose(
        expected, got, rtol=0, atol=1e-3 * scale, equal_nan=True
    ):
        raise Unfoldable("its traced graph computes different values")


def _output(network: nn.Module, batch: Any) -> Any:
    like = next(p for p in network.parameters() if p.is_floating_point())

    def fit(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(like.device, like.dtype if tensor.is_floating_point() else tensor.dtype)

    with torch.no_grad():
        output = network(pytree.tree_map_only(torch.Tensor, fit, batch[0]))
    return output.double().cpu() if isinstance(output, torch.Tensor) else output


def _laid_flat(
    space: WeightSpace, tensors: Sequence[torch.Tensor], folds: Sequence[Fold], dtype: torch.dtype
) -> list[torch.Tensor]:
    """The tensors, with folded convolution weights, written one after another into a flat vector."""
    views = space.views(torch.empty(space.size, dtype=dtype))
    weights = {f"{fold.conv}.weight": fold.weight for fold in folds}
    for entry, tensor, view in zip(space.entries, tensors, views, strict=True):
        view.copy_(weights[entry.name](tensor) if entry.name in weights else tensor.detach())
    return views


def _names(model: nn.Module, space: WeightSpace) -> tuple[tuple[str, ...], ...]:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return tuple(
        tuple(name for name, parameter in parameters.items() if parameter is parameters[entry.name])
        for entry in space.entries
    )


def _by_name(names: tuple[tuple[str, ...], ...], direction: Tensors) -> dict[str, torch.Tensor]:
    return {name: d for several, d in zip(names, direction, strict=True) for name in several}


def _trace(model: nn.Module, dtype: torch.dtype) -> fx.GraphModule:
    try:
        # New parameters over the same memory: a third copy of a large network may not fit.
        own: dict[int, Any] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in model.parameters()}
        duplicate = copy.deepcopy(model, own).to(device="cpu", dtype=dtype).eval()
        return fx.symbolic_trace(duplicate)
    except Exception as error:  # tracing runs the user's code, which may raise anything
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


def _fold_pair(traced: fx.GraphModule, conv: fx.Node, norm: fx.Node) -> Fold:
    """Remove one BatchNorm from the graph; all but the convolution's weight is folded at once, in float64."""
    layer, batchnorm = traced.get_submodule(str(conv.target)), traced.get_submodule(str(norm.target))
    assert isinstance(layer, _CONVOLUTIONS) and isinstance(batchnorm, NORMS)
    assert batchnorm.running_mean is not None and batchnorm.running_var is not None
    scale = (batchnorm.running_var.double() + batchnorm.eps).rsqrt()
    shift = torch.zeros_like(scale)
    if batchnorm.affine:
        scale, shift = scale * batchnorm.weight.detach().double(), batchnorm.bias.detach().double()
    done = Fold(str(conv.target), str(norm.target), scale, layer.bias is not None, batchnorm.affine)
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().double()
    shifted = (bias - batchnorm.running_mean.double()) * scale + shift
    layer.bias = nn.Parameter(shifted.to(layer.weight.dtype))
    norm.replace_all_uses_with(conv)
    traced.graph.erase_node(norm)
    return done
