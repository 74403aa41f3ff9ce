"""A lower-precision copy of the network that is updated with its weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from lsweep.evaluate.flat_parameters import FlatNetwork
from lsweep.evaluate.kernels import fusion
from lsweep.models.parameters import tensors_of
from lsweep.surface import Precision

_DTYPES = {Precision.TF32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


class LowPrecision:
    """Takes inputs and returns outputs in fp32; computes in `kind`.

    Args:
        net: the network in fp32.
        kind: TF32, BF16 or FP16.
    """

    def __init__(self, net: FlatNetwork, kind: Precision) -> None:
        self._net, self._kind, self._dtype = net, kind, _DTYPES[kind]
        space = replace(net.space, channels_last=True)  # the layout of tensor cores and oneDNN
        self._flat = torch.empty_like(net.flat, dtype=self._dtype)
        self._views, self._own = space.views(self._flat), tensors_of(net.model, net.space)
        self._alike = space == net.space or not any(entry.is_conv2d for entry in space.entries)
        self.follow()
        # Moving tensors are registered with the copy in advance, so that no second fp32 copy is made.
        twins: dict[int, Any] = {
            id(tensor): _like(tensor, view) for tensor, view in zip(self._own, self._views, strict=True)
        }
        self._model: nn.Module = copy.deepcopy(net.model, twins).to(self._dtype)
        if fusion.is_faster(self._model, self._dtype, net.flat.device):
            fusion.fuse(cast(fx.GraphModule, self._model))

    def follow(self) -> None:
        """Copy the network's weights, which are combined in fp32 and then rounded."""
        if self._alike:
            self._flat.copy_(self._net.flat)
            return
        for view, tensor in zip(self._views, self._own, strict=True):
            view.copy_(tensor.detach())

    def __call__(self, inputs: Any) -> torch.Tensor:
        """The network's output, float32."""
        inputs = pytree.tree_map_only(torch.Tensor, self._cast, inputs)
        with _tf32() if self._kind == Precision.TF32 else nullcontext():
            output: torch.Tensor = self._model(inputs)
        return output.float()

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        images = tensor.dim() == 4
        return tensor.to(self._dtype, memory_format=torch.channels_last if images else torch.preserve_format)


def _like(tensor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The values as a parameter, if the tensor is one."""
    return nn.Parameter(values, requires_grad=False) if isinstance(tensor, nn.Parameter) else values


@contextmanager
def _tf32() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
