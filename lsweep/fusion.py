"""Convolution, sum and ReLU as one kernel of oneDNN: on a CPU, in bf16, the passes over memory between them are dear.

oneDNN adds and rectifies what it still holds in fp32, so a fused network rounds less often than the same one in steps.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

_RELU = (F.relu, torch.relu, torch.relu_)
_ADD = (operator.add, operator.iadd, torch.add)


class FusedConvolution(nn.Module):
    """relu(conv(x)), or relu(conv(x) + other).

    Args:
        conv: two-dimensional, padded with zeros; its parameters stay where they are.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, inputs: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
        """(N, C, H, W), as `other` is."""
        conv = self.conv
        rest = (conv.padding, conv.stride, conv.dilation, conv.groups)
        fused: torch.Tensor
        if other is None:
            fused = _unary()(inputs, conv.weight, conv.bias, *rest, "relu", [], "")
        elif other.shape != self._shape(inputs):  # it is spread over the others: not something oneDNN does
            return F.relu_(conv(inputs) + other)
        else:
            fused = _binary()(inputs, other, conv.weight, conv.bias, *rest, "add", 1.0, "relu", [], "")
        return fused

    def _shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """Of the convolution's output (N, C, H, W)."""
        conv, sides = self.conv, []
        for axis, side in enumerate(inputs.shape[2:]):
            reach = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1
            sides.append((side + 2 * int(conv.padding[axis]) - reach) // conv.stride[axis] + 1)
        return (inputs.shape[0], conv.out_channels, *sides)


def pays(model: nn.Module, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this processor has the kernels, and the network is a graph that can be changed."""
    if device.type != "cpu" or dtype != torch.bfloat16 or not isinstance(model, fx.GraphModule):
        return False
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bool(_unary() and _binary())
    except (AttributeError, RuntimeError):  # a torch without oneDNN, or one that calls it otherwise
        return False


def fuse(model: fx.GraphModule) -> int:
    """Change the graph in place, for inference only; its parameters stay where and what they are.

    Returns:
        The number of convolutions that took something in.
    """
    done = 0
    for node in list(model.graph.nodes):
        if (given := _only_input(node, model)) is None:
            continue
        conv, *other = given
        layer = model.get_submodule(str(conv.target))
        assert isinstance(layer, nn.Conv2d)
        name = f"{str(conv.target).replace('.', '_')}_fused"
        model.add_submodule(name, FusedConvolution(layer))
        with model.graph.inserting_before(node):
            node.replace_all_uses_with(model.graph.call_module(name, (conv.args[0], *other)))
        for old in (node, *node.all_input_nodes, conv):
            if not old.users and old in model.graph.nodes:
                model.graph.erase_node(old)
        done += 1
    if done:
        model.graph.lint()
        model.recompile()
    return done


def _only_input(node: fx.Node, model: fx.GraphModule) -> tuple[fx.Node, ...] | None:
    """Of a ReLU: the convolution that it rectifies, or the one and what is added to it; None for all else."""
    if not _is_relu(node, model) or not isinstance(before := node.args[0], fx.Node) or len(before.users) > 1:
        return None
    if _fits(before, model):
        return (before,)
    if before.op == "call_function" and before.target in _ADD and not before.kwargs:
        one, two = before.args
        for conv, other in ((one, two), (two, one)):
            if isinstance(conv, fx.Node) and isinstance(other, fx.Node) and _fits(conv, model):
                return conv, other
    return None


def _is_relu(node: fx.Node, model: fx.GraphModule) -> bool:
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return type(module) is nn.ReLU and not _hooked(module) and len(node.args) == 1
    called = node.op == "call_function" and node.target in _RELU
    return (called or (node.op == "call_method" and node.target in ("relu", "relu_"))) and bool(node.args)


def _fits(node: fx.Node, model: fx.GraphModule) -> bool:
    """Whether it is a convolution that nobody else listens to."""
    if node.op != "call_module" or len(node.users) != 1 or len(node.args) != 1:
        return False
    layer: Any = model.get_submodule(str(node.target))
    plain = type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return plain and not _hooked(layer)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _unary() -> Any:
    return torch.ops.mkldnn._convolution_pointwise.default


def _binary() -> Any:
    return torch.ops.mkldnn._convolution_pointwise.binary
