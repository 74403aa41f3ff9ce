"""Shared memory: rank 0 loads tensors, and the ranks of a host share one copy."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from lsweep.comm import Comm

_ALIGN = 64


@dataclasses.dataclass(frozen=True)
class _Slot:
    """A tensor's place in the shared memory. Its strides are kept, because kernels, and so bits, depend on them."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    stop: int


def share_tree(comm: Comm, load: Callable[[], Any]) -> Any:
    """Collective: `load` a pytree of CPU tensors and picklable objects on rank 0; return it on every rank.

    The ranks of a host share the tensors' memory: treat them as read-only. An error of `load` is raised on all ranks.
    """
    tree = comm.on_root_only(load)
    if comm.size == 1:
        return tree
    leaves: list[Any] = []
    slots: list[Any] = []
    spec: Any = None
    if comm.is_root:
        leaves, spec = pytree.tree_flatten(tree)
        slots = _plan(leaves)
    with quiet():
        slots, spec = comm.bcast((slots, spec))
    end = max((slot.stop for slot in slots if isinstance(slot, _Slot)), default=0)
    memory = comm.share(end, lambda flat: _pack(leaves, slots, flat))
    return pytree.tree_unflatten([_unpack(slot, memory) for slot in slots], spec)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warning of some torch versions about how they themselves unpickle a tree's structure."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        yield


def _plan(leaves: list[Any]) -> list[Any]:
    """Return a slot for each tensor; other objects are kept unchanged."""
    slots, end = [], 0
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            slots.append(leaf)
            continue
        dense = torch.empty_like(leaf, device="meta", memory_format=torch.preserve_format)
        size = leaf.numel() * leaf.element_size()
        slots.append(_Slot(leaf.dtype, tuple(leaf.shape), dense.stride(), end, end + size))
        end = -(-(end + size) // _ALIGN) * _ALIGN
    return slots


def _pack(leaves: list[Any], slots: list[Any], memory: np.ndarray) -> None:
    for leaf, slot in zip(leaves, slots, strict=True):
        if isinstance(slot, _Slot) and slot.stop > slot.start:
            _unpack(slot, memory).copy_(leaf.detach())


def _unpack(slot: Any, memory: np.ndarray) -> Any:
    if not isinstance(slot, _Slot):
        return slot
    if slot.stop == slot.start:
        return torch.empty(slot.shape, dtype=slot.dtype)
    return (
        torch.from_numpy(memory[slot.start : slot.stop]).view(slot.dtype).as_strided(slot.shape, slot.stride)
    )
