"""Multilayer perceptrons at several points at once: the first layer's output is affine in the coordinates.

(W* + α·W₁ + β·W₂)·x = W*·x + α·W₁·x + β·W₂·x: three products suffice for all points, and each point combines three
matrices with three coefficients. Later layers are batched matrix products. Activations are stored as (points, features,
examples), because softmax and maximum over few classes are several times faster across rows of examples than within
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from lsweep.evaluate.flat_parameters import FlatNetwork
from lsweep.models.parameters import Entry, tensors_of

_POINTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Identity, nn.Dropout),
)
_FUNCTIONS = (torch.relu, torch.tanh, torch.sigmoid, F.relu, F.tanh, F.sigmoid, F.gelu, F.silu, F.leaky_relu)
_METHODS = {"relu": torch.relu_, "tanh": torch.tanh, "sigmoid": torch.sigmoid}

Pointwise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Product:
    """A linear layer: entries of its weight (out, in) and its bias (out,) in the space."""

    weight: Entry
    bias: Entry | None


@dataclass(frozen=True)
class Perceptron:
    """A sequence of linear layers and elementwise functions.

    Attributes:
        first: the first layer.
        others: those after it.
    """

    first: Product
    others: tuple[Product | Pointwise, ...]

    def basis(self, net: FlatNetwork, inputs: torch.Tensor) -> torch.Tensor:
        """First-layer outputs with the weights θ* and each direction, for inputs (B, …): (1 + ndim, features, B)."""
        columns = inputs.flatten(1).t()
        return torch.stack([_layer(v, self.first, columns) for v in (net.theta, *net.directions)])

    def at(self, net: FlatNetwork, coordinates: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """The networks at points (k, ndim), x first: from a `basis` of B examples to outputs (k, outputs, B)."""
        ones = coordinates.new_ones(len(coordinates), 1)
        mixture = torch.cat([ones, coordinates], dim=1).to(net.theta)
        vectors = [net.theta, *net.directions]
        steps = [_products(e, vectors, mixture) if isinstance(e, Product) else e for e in self.others]

        def run(basis: torch.Tensor) -> torch.Tensor:
            values = (mixture @ basis.flatten(1)).view(len(mixture), *basis.shape[1:])
            for step in steps:
                values = step(values)
            return values

        return run


def _products(layer: Product, vectors: Sequence[torch.Tensor], mixture: torch.Tensor) -> Pointwise:
    """A later layer at every point: (k, in, B) → (k, out, B)."""
    weight = (mixture @ _rows(vectors, layer.weight)).view(len(mixture), *layer.weight.shape)
    if layer.bias is None:
        return lambda values: torch.bmm(weight, values)
    bias = (mixture @ _rows(vectors, layer.bias))[:, :, None]
    return lambda values: torch.baddbmm(bias, weight, values)


def perceptron(net: FlatNetwork, inputs: Any) -> Perceptron | None:
    """The network as a perceptron, or None if it is not one.

    Args:
        net: the network, in evaluation mode.
        inputs: those of one batch.
    """
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        return None
    try:
        nodes = list(fx.symbolic_trace(net.model).graph.nodes)
    except Exception:  # tracing runs the user's code, which may raise anything
        return None
    entries = {id(t): e for t, e in zip(tensors_of(net.model, net.space), net.space.entries, strict=True)}
    modules = dict(net.model.named_modules(remove_duplicate=False))
    layers: list[Product | Pointwise] = []
    width = inputs.shape[-1] if inputs.dim() == 2 else None
    if len(nodes) < 2 or nodes[0].op != "placeholder" or nodes[-1].args != (nodes[-2],):
        return None
    for before, node in pairwise(nodes[:-1]):
        if node.args[:1] != (before,):
            return None
        if _is_flatten(node, modules):
            width = inputs[0].numel()
            continue
        layer = _step(node, modules, entries)
        if layer is None or width is None:
            return None
        layers.append(layer)
    return Perceptron(layers[0], tuple(layers[1:])) if layers and isinstance(layers[0], Product) else None


def _step(
    node: fx.Node, modules: dict[str, nn.Module], entries: dict[int, Entry]
) -> Product | Pointwise | None:
    alone = len(node.args) == 1 and not any(isinstance(value, fx.Node) for value in node.kwargs.values())
    if node.op == "call_module":
        module = modules[str(node.target)]
        if module._forward_hooks or module._forward_pre_hooks or not alone or node.kwargs:
            return None
        if type(module) is nn.Linear and id(module.weight) in entries:
            bias = module.bias
            return Product(entries[id(module.weight)], None if bias is None else entries[id(bias)])
        return _in_place(module) if type(module) in _POINTWISE else None
    if node.op == "call_function" and alone and node.target in _FUNCTIONS:
        is_relu = _in_place(node.target) is torch.relu_
        return torch.relu_ if is_relu else partial(node.target, **node.kwargs)
    return _METHODS.get(str(node.target)) if node.op == "call_method" and alone and not node.kwargs else None


def _in_place(function: Any) -> Pointwise:
    """The function; ReLU in place, which is safe because these activations have no other use."""
    is_relu = type(function) is nn.ReLU or function in (torch.relu, F.relu)
    return torch.relu_ if is_relu else function


def _is_flatten(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether each example is flattened into one row."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
    called = node.target in (torch.flatten, "flatten")
    return called and (node.args[1:], dict(node.kwargs)) in [((1,), {}), ((), {"start_dim": 1})]


def _rows(vectors: Sequence[torch.Tensor], entry: Entry) -> torch.Tensor:
    """An entry's elements in each of the vectors, (vectors, elements)."""
    return torch.stack([v[entry.offset : entry.offset + entry.numel] for v in vectors])


def _layer(vector: torch.Tensor, layer: Product, columns: torch.Tensor) -> torch.Tensor:
    """The first layer with the weights in a flat vector: (out, B)."""
    weight, bias = layer.weight, layer.bias
    product = vector[weight.offset : weight.offset + weight.numel].view(weight.shape) @ columns
    return product if bias is None else product + vector[bias.offset : bias.offset + bias.numel, None]


def cross_entropy_and_accuracy(
    output: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`objective`'s cross entropy, and whether the first of the largest scores is the target's.

    Args:
        output: (k, C, B) scores.
        target: (B,) classes.

    Returns:
        (k, B) each.
    """
    index = target.expand(len(output), 1, -1)
    logs = F.log_softmax(output, dim=1)
    own = logs.gather(1, index)
    others = torch.zeros(output.shape[1:], dtype=logs.dtype, device=logs.device)
    rival = logs.add_(others.scatter_(0, target[None], -torch.inf)).amax(dim=1, keepdim=True)
    right, wrong = (own > rival)[:, 0], (own < rival)[:, 0]
    # With ties or NaN, which are rare, the first of the largest scores counts.
    if not bool((decided := right | wrong).all()):
        point, example = (~decided).nonzero(as_tuple=True)
        right[point, example] = output[point, :, example].max(dim=1).indices == target[example]
    return own.neg_()[:, 0], right
