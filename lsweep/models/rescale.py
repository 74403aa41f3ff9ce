"""Function-preserving rescaling of networks ([Li18] §3).

Because of two invariances the scale of the weights has no meaning:

- *ReLU pairs*: relu(c·x) = c·relu(x) for c > 0. A layer's filters can be multiplied, and the next layer's inputs
  divided, by one factor for the layer or by one factor per unit.
- *Before BatchNorm*: a filter can be multiplied by any c > 0, because its output is divided by its standard deviation.
  In evaluation mode the running statistics are part of the function: with μ ← c·μ and σ² ← c²(σ² + ε) − ε even the ε
  in the denominator is scaled exactly.

Consequences for a loss surface: a random direction of fixed length is large compared with small weights and small
compared with large ones, so an unnormalised surface shows the scale of the weights and not the function. Filter
normalisation multiplies each filter of the direction by the norm of the corresponding filter of the weights. The same
draw then gives the same surface for a network rescaled by one factor per layer, and for filters before BatchNorm with
one factor each. It does *not* for unequal factors of ReLU units: these scale the columns of the next layer's filters
unequally, for which the norm of a whole filter cannot compensate. The surface of such a network differs, although its
function is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import fx, nn

from lsweep.errors import ModelError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RELU_MODULES = (nn.ReLU, nn.LeakyReLU)
# Modules that may lie between: they too satisfy f(c·x) = c·f(x), channel by channel.
BETWEEN_MODULES = (
    nn.Identity,
    nn.Flatten,
    nn.Dropout,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
RELU_CALLS = (F.relu, torch.relu, F.leaky_relu, "relu")
BETWEEN_CALLS = (
    torch.flatten,
    F.dropout,
    F.max_pool2d,
    F.avg_pool2d,
    F.adaptive_avg_pool2d,
    "flatten",
    "view",
    "reshape",
)


@dataclass(frozen=True)
class Pair:
    """Two modules that can be rescaled against each other.

    Attributes:
        kind: "relu" if `second` is the layer after the activation, "batchnorm" if it is the BatchNorm after `first`.
        first: the name of the layer whose filters are multiplied.
        second: the name of the other module, see `kind`.
        units: the number of filters of `first`.
    """

    kind: Literal["relu", "batchnorm"]
    first: str
    second: str
    units: int


def pairs(model: nn.Module) -> list[Pair]:
    """Find the pairs of a network, in the order of its forward pass.

    A layer has no partner if its output is used more than once, if it is called more than once, or if it shares its
    parameters; so a residual network's pairs lie within its blocks.

    Raises:
        ModelError: torch.fx cannot trace the network.
    """
    try:
        graph = fx.symbolic_trace(copy.deepcopy(model).eval()).graph
    except Exception as error:  # tracing runs the user's forward, which may raise any exception
        reason = (str(error).splitlines() or [""])[0]
        raise ModelError(
            f"cannot find layers to rescale, because torch.fx cannot trace the network: {reason}"
        ) from None
    modules = dict(model.named_modules())
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    owners: dict[int, int] = {}
    for module in modules.values():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1

    def alone(name: str) -> bool:
        shared = any(owners[id(p)] > 1 for p in modules[name].parameters(recurse=False))
        return calls.count(name) == 1 and not shared

    found = []
    for node in graph.nodes:
        if (
            node.op == "call_module"
            and isinstance(modules[str(node.target)], LAYERS)
            and alone(str(node.target))
        ):
            partner = _partner(node, modules)
            if partner is not None and alone(partner[1]):
                units = int(modules[str(node.target)].weight.shape[0])
                found.append(Pair(partner[0], str(node.target), partner[1], units))
    return found


def rescaled(model: nn.Module, factors: Mapping[Pair, float | torch.Tensor]) -> nn.Module:
    """Return a rescaled copy of the network, with the same function in evaluation mode up to rounding.

    Args:
        model: the network, not modified.
        factors: pair → one factor for the layer, or one for each of its units, (units,); all positive.

    Raises:
        ModelError: a factor is not positive, has the wrong shape, or is so small before BatchNorm that the variance
            would become negative: c²(σ² + ε) < ε.
    """
    twin = copy.deepcopy(model)
    for pair, factor in factors.items():
        c = torch.as_tensor(factor, dtype=torch.float64)
        if c.shape not in ((), (pair.units,)) or not bool((c > 0).all() and torch.isfinite(c).all()):
            raise ModelError(
                f"{pair.first!r}: factors must be positive and finite, one or {pair.units} of them; got shape "
                f"{tuple(c.shape)}",
                key=pair.first,
            )
        c = c.expand(pair.units)
        first, second = twin.get_submodule(pair.first), twin.get_submodule(pair.second)
        with torch.no_grad():
            _multiply(first, c)
            if pair.kind == "relu":
                _divide_inputs(second, c, pair)
            else:
                _follow(second, c, pair)
    return twin


def draw(
    found: list[Pair],
    generator: torch.Generator,
    spread: float = 3.0,
    per: Literal["layer", "unit"] = "layer",
) -> dict[Pair, torch.Tensor]:
    """Draw random factors, log-uniform in [1/spread, spread], for ReLU pairs one per layer or one per unit.

    Before BatchNorm there is always one per filter.
    """

    def one(count: int) -> torch.Tensor:
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        return torch.exp((2 * uniform - 1) * torch.log(torch.tensor(spread, dtype=torch.float64)))

    return {p: one(p.units) if per == "unit" or p.kind == "batchnorm" else one(1)[0] for p in found}


def _partner(
    node: fx.Node, modules: Mapping[str, nn.Module]
) -> tuple[Literal["relu", "batchnorm"], str] | None:
    """Find a layer's partner: the BatchNorm after it, or the next layer after an activation."""
    activated = False
    while True:
        users = [user for user in node.users if not _asks_shape(user)]
        if len(users) != 1 or not users[0].args or users[0].args[0] is not node:
            return None
        node = users[0]
        module = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(module, NORMS) and not activated and node.all_input_nodes[0].op == "call_module":
            return ("batchnorm", str(node.target)) if module.running_var is not None else None
        if isinstance(module, LAYERS):
            whole = getattr(module, "groups", 1) == 1
            return ("relu", str(node.target)) if activated and whole else None
        if isinstance(module, RELU_MODULES) or node.target in RELU_CALLS:
            activated = True
        elif not isinstance(module, BETWEEN_MODULES) and node.target not in BETWEEN_CALLS:
            return None


def _asks_shape(node: fx.Node) -> bool:
    return node.target == "size" or (node.target is getattr and node.args[1:2] == ("shape",))


def _multiply(layer: Any, c: torch.Tensor) -> None:
    layer.weight.mul_(c.to(layer.weight).view(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.mul_(c.to(layer.bias))


def _divide_inputs(layer: Any, c: torch.Tensor, pair: Pair) -> None:
    """Divide the layer's inputs by `c`; in a flattened image each channel is several adjacent inputs."""
    width = layer.weight.shape[1]
    if width % pair.units:
        raise ModelError(
            f"{pair.second!r} has {width} inputs, which cannot come from the {pair.units} outputs of {pair.first!r}",
            key=pair.second,
        )
    each = c.repeat_interleave(width // pair.units).to(layer.weight)
    layer.weight.div_(each.view(1, -1, *[1] * (layer.weight.dim() - 2)))


def _follow(norm: Any, c: torch.Tensor, pair: Pair) -> None:
    var = c.to(norm.running_var.device) ** 2 * (norm.running_var.double() + norm.eps) - norm.eps
    if bool((var < 0).any()):
        raise ModelError(
            f"{pair.first!r}: a factor of {float(c.min()):g} is too small for the eps of {pair.second!r}, "
            f"{norm.eps:g}; the variance would become negative",
            key=pair.first,
        )
    norm.running_mean.mul_(c.to(norm.running_mean))
    norm.running_var.copy_(var)
