"""Fused convolution, bias, sum and ReLU, by oneDNN on a CPU and cuDNN on a GPU.

The memory passes between these operations are expensive where convolutions are fast: on a GPU in every precision, most
in the lower ones (results/bench/gpu); on a CPU only in bf16. The libraries add and rectify in fp32 before rounding, so
a fused network rounds less often than the original.
"""

from __future__ import annotations

import copy
import logging
import operator
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn

log = logging.getLogger("lsweep")

OURS = "lsweep"  # in a graph's `meta`
# Messages of torch's convolution if cuDNN has no kernel: no plan works, or each lacks memory.
REFUSALS = ("unable to find an engine", "No execution plans", "NOT_SUPPORTED")

_RELU = (F.relu, torch.relu, torch.relu_)
_ADD = (operator.add, operator.iadd, torch.add)


class FusedConvolution(nn.Module):
    """relu(conv(x)), or relu(conv(x) + other).

    Args:
        conv: a two-dimensional convolution, padded with zeros; its parameters keep their memory.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self._refused: set[tuple[Any, ...]] = set()

    def forward(self, inputs: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
        """Return the output (N, C, H, W), the shape of `other`."""
        # Neither library broadcasts the summand.
        if other is not None and other.shape != self._shape(inputs):
            return self._steps(inputs, other)
        form = _form(inputs, other)
        if form in self._refused:
            return self._steps(inputs, other)
        try:
            return _KERNELS[inputs.device.type](self.conv, inputs, other)
        except RuntimeError as error:
            # cuDNN does not support every shape, and reports it only when called. Decide for each shape, so that the
            # result does not depend on earlier ones. A recording (`graphs`) begins with passes without recording.
            if not any(refusal in str(error) for refusal in REFUSALS):
                raise
            log.debug("a convolution is not fused: %s", (str(error).splitlines() or [""])[0])
            self._refused.add(form)
            return self._steps(inputs, other)

    def _steps(self, inputs: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        output = self.conv(inputs)
        return F.relu_(output if other is None else output + other)

    def _shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """Shape of the convolution's output (N, C, H, W)."""
        conv, sides = self.conv, []
        for axis, side in enumerate(inputs.shape[2:]):
            reach = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1
            sides.append((side + 2 * int(conv.padding[axis]) - reach) // conv.stride[axis] + 1)
        return (inputs.shape[0], conv.out_channels, *sides)


def is_faster(model: nn.Module, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this CPU or GPU has the kernels, and the network is a graph made by `folding`.

    A copy of a user's graph would lose what is attached to the module, such as hooks.
    """
    if not isinstance(model, fx.GraphModule) or OURS not in model.meta:
        return False
    if device.type == "cuda":
        kinds = (torch.float32, torch.bfloat16, torch.float16)
        return dtype in kinds and torch.backends.cudnn.is_available()
    if device.type != "cpu" or dtype != torch.bfloat16:
        return False
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and bool(_unary() and _binary())
    except (AttributeError, RuntimeError):  # a torch without oneDNN, or one that calls it otherwise
        return False


def fused_copy(model: fx.GraphModule) -> fx.GraphModule:
    """A fused copy of a network over the same parameters and buffers, or the network itself if nothing can be fused."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    copied: fx.GraphModule = copy.deepcopy(model, shared)
    return copied if fuse(copied) else model


def fuse(model: fx.GraphModule) -> int:
    """Fuse the graph in place, for inference only; its parameters keep their memory and values.

    Returns:
        The number of fused convolutions.
    """
    done = 0
    for node in list(model.graph.nodes):
        if (given := _only_input(node, model)) is None:
            continue
        conv, *other = given
        layer = model.get_submodule(str(conv.target))
        assert isinstance(layer, nn.Conv2d)
        name = f"{str(conv.target).replace('.', '_')}_fused_{done}"
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
    """For a ReLU: the convolution before it, or a convolution and its summand; otherwise None."""
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
    """Whether it is a convolution whose output has no other use."""
    if node.op != "call_module" or len(node.users) != 1 or len(node.args) != 1:
        return False
    layer: Any = model.get_submodule(str(node.target))
    plain = type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return plain and not _hooked(layer)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _form(inputs: torch.Tensor, other: torch.Tensor | None) -> tuple[Any, ...]:
    return (inputs.shape, inputs.stride(), inputs.dtype, None if other is None else other.stride())


def _onednn(conv: nn.Conv2d, inputs: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
    rest = (conv.padding, conv.stride, conv.dilation, conv.groups)
    fused: torch.Tensor
    if other is None:
        fused = _unary()(inputs, conv.weight, conv.bias, *rest, "relu", [], "")
    else:
        fused = _binary()(inputs, other, conv.weight, conv.bias, *rest, "add", 1.0, "relu", [], "")
    return fused


def _cudnn(conv: nn.Conv2d, inputs: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
    padding = cast(tuple[int, ...], conv.padding)  # no name of a rule: `_fits`
    rest = (conv.stride, padding, conv.dilation, conv.groups)
    fused: torch.Tensor
    if other is None:
        fused = torch.cudnn_convolution_relu(inputs, conv.weight, conv.bias, *rest)
    else:
        fused = torch.cudnn_convolution_add_relu(inputs, conv.weight, other, 1.0, conv.bias, *rest)
    return fused


_KERNELS: dict[str, Callable[[nn.Conv2d, torch.Tensor, torch.Tensor | None], torch.Tensor]]
_KERNELS = {"cpu": _onednn, "cuda": _cudnn}


def _unary() -> Any:
    return torch.ops.mkldnn._convolution_pointwise.default


def _binary() -> Any:
    return torch.ops.mkldnn._convolution_pointwise.binary
