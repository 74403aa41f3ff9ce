"""Parameters as a point in weight space: the tensors that move, their filter axes, and their flat vector."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lsweep.errors import ModelError

# The dimension that counts filters (outputs), by the class of the module that owns the weight. Classes are looked up
# by name along the MRO, so that no library need be imported for this. Users can add their own layers:
# `lsweep.models.parameters.FILTER_AXIS["MyTransposedConv"] = 1`.
FILTER_AXIS = {
    "ConvTranspose1d": 1,
    "ConvTranspose2d": 1,
    "ConvTranspose3d": 1,
    "Conv1D": 1,  # Hugging Face's linear layer with weight (in, out)
}


@dataclass(frozen=True)
class Entry:
    """One tensor that moves.

    Attributes:
        name: its name in `named_parameters()` or `state_dict()`.
        shape: its shape.
        offset: where it begins in the flat vector, in elements.
        filter_axis: the dimension that counts filters ([Li18] §4).
        is_buffer: whether it is a running statistic rather than a parameter.
        is_conv2d: whether it is the weight of a 2-D convolution, whose memory order in the flat vector may differ.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    filter_axis: int = 0
    is_buffer: bool = False
    is_conv2d: bool = False

    @property
    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class WeightSpace:
    """The tensors that move, in order; tied ones once. Their elements are concatenated in a flat vector (size,).

    Attributes:
        entries: the tensors.
        channels_last: whether the flat vector holds weights of 2-D convolutions as (out, height, width, in), which is
            faster except in fp32 on a GPU; the views have the entries' shapes in either case.
    """

    entries: tuple[Entry, ...]
    channels_last: bool = True

    @property
    def size(self) -> int:
        """The dimension of the space."""
        return self.entries[-1].offset + self.entries[-1].numel if self.entries else 0

    def views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """The entries' tensors as views of a flat vector (size,), with shared memory."""
        return [self.view(flat[e.offset : e.offset + e.numel], e) for e in self.entries]

    def view(self, piece: torch.Tensor, entry: Entry) -> torch.Tensor:
        """An entry's tensor as a view of its piece (…, numel) of one or several flat vectors."""
        if not (entry.is_conv2d and self.channels_last):
            return piece.view(*piece.shape[:-1], *entry.shape)
        out, into, height, width = entry.shape
        return piece.view(*piece.shape[:-1], out, height, width, into).movedim(-1, -3)

    def flatten(self, tensors: Sequence[torch.Tensor], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Copy tensors shaped like the entries into a new flat vector (size,) on the CPU."""
        flat = torch.empty(self.size, dtype=dtype)
        for view, tensor in zip(self.views(flat), tensors, strict=True):
            view.copy_(tensor.detach())
        return flat

    def flattened(self, tensors: Sequence[torch.Tensor], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Like `flatten`, but without a copy if the tensors already are `views` of such a vector: read-only."""
        flat = _behind(tensors[0].detach(), self.size) if tensors else None
        if flat is None or flat.dtype != dtype or flat.device.type != "cpu":
            return self.flatten(tensors, dtype)
        laid = all(_same_place(*pair) for pair in zip(self.views(flat), tensors, strict=True))
        return flat if laid else self.flatten(tensors, dtype)


def weight_space(model: nn.Module, space: str = "weights") -> WeightSpace:
    """List the tensors that move: parameters ("weights"), or all floating-point entries of the state dict ("states").

    Parameters are in `named_parameters()` order, states in `state_dict()` order. Frozen parameters move like the
    others; integer counters never move.

    Raises:
        ModelError: a parameter has no values yet, or a module is TorchScript.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in parameters.items():
        if isinstance(parameter, nn.parameter.UninitializedParameter) or parameter.is_meta:
            raise ModelError(
                f"the network's parameter {name!r} has no values yet: it is lazy or on the meta device; initialise it",
                key=name,
            )
    owners = dict(model.named_modules(remove_duplicate=False))
    for name, owner in owners.items():
        if isinstance(owner, torch.jit.ScriptModule):
            raise ModelError(
                f"{name or 'the network'!r} is TorchScript, whose buffers cannot be replaced; use the nn.Module",
                key=name,
            )
    named: Iterable[tuple[str, torch.Tensor]] = model.named_parameters()
    if space == "states":
        tensors = model.state_dict(keep_vars=True)
        named = [(key, value) for key, value in tensors.items() if isinstance(value, torch.Tensor)]
    entries: list[Entry] = []
    seen: set[int] = set()
    offset = 0
    for name, tensor in named:
        if id(tensor) in seen or not tensor.is_floating_point():
            continue
        seen.add(id(tensor))
        entry = Entry(
            name,
            tuple(tensor.shape),
            offset,
            filter_axis=_filter_axis(owners[name.rpartition(".")[0]]),
            is_buffer=name not in parameters,
            is_conv2d=tensor.dim() == 4 and isinstance(owners[name.rpartition(".")[0]], nn.Conv2d),
        )
        entries.append(entry)
        offset += entry.numel
    return WeightSpace(tuple(entries))


def tensors_of(model: nn.Module, space: WeightSpace) -> list[torch.Tensor]:
    """The model's own tensors for the entries of `space`, in order."""
    own: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    own.update(model.named_buffers(remove_duplicate=False))
    return [own[entry.name] for entry in space.entries]


def sha256(*tensors: torch.Tensor) -> str:
    """Hash the bytes, dtypes and shapes of tensors, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _behind(tensor: torch.Tensor, size: int) -> torch.Tensor | None:
    """A view of `size` elements of a tensor's memory, from its first element on; None if there are fewer."""
    there = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    return tensor.as_strided((size,), (1,)) if there >= size else None


def _same_place(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.data_ptr(), one.dtype, one.shape, one.stride()) == (
        other.data_ptr(),
        other.dtype,
        other.shape,
        other.stride(),
    )


def _filter_axis(owner: nn.Module) -> int:
    for cls in type(owner).__mro__:
        if cls.__name__ in FILTER_AXIS:
            return FILTER_AXIS[cls.__name__]
    return 0
