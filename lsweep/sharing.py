"""One read per job: rank 0 loads, and each host keeps one copy in memory that its ranks share."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from lsweep.comm import Comm
from lsweep.data import ResidentBatches, ResidentData

_ALIGN = 64


@dataclasses.dataclass(frozen=True)
class _Slot:
    """Where a tensor lies in the shared bytes. Its strides stay: kernels, and so bits, depend on them."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    stop: int


def share_tree(comm: Comm, load: Callable[[], Any]) -> Any:
    """Collective: `load` on rank 0 a pytree of CPU tensors and picklable things; return it on every rank.

    The tensors of one host share their memory: treat them as read-only. An error of `load` is raised on
    all ranks.
    """
    tree = comm.on_root_only(load)
    if comm.size == 1:
        return tree
    leaves: list[Any] = []
    spec: Any = None
    if comm.is_root:
        leaves, spec = pytree.tree_flatten(tree)
    leaves = [
        leaf.detach().clone(memory_format=torch.preserve_format) if _is_tensor(leaf) else leaf
        for leaf in leaves
    ]
    slots, end = _plan(leaves)
    packed = _pack(leaves, slots, end) if comm.is_root else None
    slots, spec = comm.bcast((slots, spec))
    memory = comm.share(packed)
    return pytree.tree_unflatten([_unpack(slot, memory) for slot in slots], spec)


def share_examples(
    comm: Comm, load: Callable[[], ResidentData | ResidentBatches]
) -> ResidentData | ResidentBatches:
    """Collective: load a data set once and share it; every rank loads its own if it cannot be sent."""
    data: Any = comm.on_root_only(load)
    if comm.size == 1:
        return data
    sendable = False
    if comm.is_root:
        leaves, spec = pytree.tree_flatten(_tree(data))
        rest = [leaf for leaf in leaves if not _is_tensor(leaf)]
        sendable = _can_pickle((getattr(data, "transform", None), rest, spec))
    if not comm.bcast(sendable):
        with comm.together():
            data = data if comm.is_root else load()
        return data
    transform = comm.bcast(getattr(data, "transform", None))
    tree = share_tree(comm, lambda: _tree(data))
    whole = comm.bcast(isinstance(data, ResidentData))
    return ResidentData(tree, transform) if whole else ResidentBatches(tree)


def _tree(data: Any) -> Any:
    return data.tree if isinstance(data, ResidentData) else data.items


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def _can_pickle(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # pickle raises what the object raises
        return False
    return True


def _plan(leaves: list[Any]) -> tuple[list[Any], int]:
    slots, end = [], 0
    for leaf in leaves:
        if not _is_tensor(leaf):
            slots.append(leaf)
            continue
        size = leaf.numel() * leaf.element_size()
        slots.append(_Slot(leaf.dtype, tuple(leaf.shape), leaf.stride(), end, end + size))
        end = -(-(end + size) // _ALIGN) * _ALIGN
    return slots, max(end, 1)


def _pack(leaves: list[Any], slots: list[Any], end: int) -> np.ndarray:
    packed = np.zeros(end, dtype=np.uint8)
    for leaf, slot in zip(leaves, slots, strict=True):
        if isinstance(slot, _Slot):
            packed[slot.start : slot.stop] = _bytes(leaf)
    return packed


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    """The bytes of a dense tensor, in the order in which they lie in memory."""
    flat = tensor.as_strided((tensor.numel(),), (1,))
    array: np.ndarray = flat.view(torch.uint8).numpy()
    return array


def _unpack(slot: Any, memory: np.ndarray) -> Any:
    if not isinstance(slot, _Slot):
        return slot
    return (
        torch.from_numpy(memory[slot.start : slot.stop]).view(slot.dtype).as_strided(slot.shape, slot.stride)
    )
