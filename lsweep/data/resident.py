"""One split of a dataset, resident in the memory of one device."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from lsweep.comm import Comm
from lsweep.comm.shared_memory import quiet, share_tree
from lsweep.errors import DataError


@dataclass(frozen=True, eq=False)
class ResidentData:
    """One split, with all examples in memory.

    Attributes:
        tree: nested tuples, lists and dicts of tensors; each tensor has the N examples along dimension 0.
        transform: converts a slice of the tree to a batch, on the tree's device; None means no transform.
    """

    tree: Any
    transform: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        """Check the tree.

        Raises:
            DataError: there is no tensor or no example, a leaf is not a tensor, or lengths differ.
        """
        shapes = {}
        for name, leaf in _named_leaves(self.tree):
            if not isinstance(leaf, torch.Tensor) or leaf.ndim == 0:
                got = "a tensor without dimensions" if isinstance(leaf, torch.Tensor) else type(leaf).__name__
                raise DataError(f"data{name} must be a tensor with the examples along dimension 0, got {got}")
            shapes[f"data{name}"] = tuple(leaf.shape)
        if not shapes:
            raise DataError("the data contain no tensor")
        if len({shape[0] for shape in shapes.values()}) > 1:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise DataError(f"the data's tensors must agree in their number of examples, got {listed}")
        if len(self) == 0:
            raise DataError("the data contain no example")

    def __len__(self) -> int:
        length: int = pytree.tree_leaves(self.tree)[0].shape[0]
        return length

    def to(self, device: torch.device | str) -> ResidentData:
        """Return the same data on `device`."""
        return dataclasses.replace(self, tree=pytree.tree_map(lambda leaf: leaf.to(device), self.tree))

    def head(self, limit: int | None) -> ResidentData:
        """Return the first `limit` examples; all of them for None or if there are fewer."""
        if limit is None or limit >= len(self):
            return self
        return dataclasses.replace(self, tree=_slice(self.tree, 0, limit))

    def batches(self, size: int) -> Iterator[Any]:
        """Yield transformed batches of `size` examples, in order; the last may be short.

        Raises:
            DataError: `size` is less than 1.
        """
        if size < 1:
            raise DataError(f"a batch needs at least 1 example, got a size of {size}")
        for start in range(0, len(self), size):
            batch = _slice(self.tree, start, start + size)
            yield batch if self.transform is None else self.transform(batch)

    def select(self, indices: torch.Tensor, size: int) -> Iterator[Any]:
        """Yield transformed batches of the examples at `indices`, int64 (n,), in that order."""
        for some in indices.to(pytree.tree_leaves(self.tree)[0].device).split(size):
            batch = pytree.tree_map(lambda leaf, some=some: leaf[some], self.tree)
            yield batch if self.transform is None else self.transform(batch)

    def sha256(self) -> str:
        """Return the hash of the network's input: leaves (name, dtype, shape, bytes) and transform."""
        digest = hashlib.sha256()
        _update(digest, self.tree)
        transform = re.sub(
            r" at 0x[0-9a-fA-F]+", "", repr(self.transform)
        )  # a function's repr contains its address
        digest.update(f"transform {transform}".encode())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ResidentBatches:
    """Fixed batches, which are ragged or collated by the user's code; otherwise like `ResidentData`.

    Attributes:
        items: the batches as returned by the loader. The number of examples in a batch is the length of its first
            tensor along dimension 0, or 1 without a tensor.
    """

    items: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Check the batches.

        Raises:
            DataError: there is no example.
        """
        if len(self) == 0:
            raise DataError("the loader returned no example")

    def __len__(self) -> int:
        return sum(_examples(batch) for batch in self.items)

    def to(self, device: torch.device | str) -> ResidentBatches:
        """Return the same data on `device`; only objects with a `to` method are moved."""
        items = pytree.tree_map(lambda leaf: leaf.to(device) if hasattr(leaf, "to") else leaf, self.items)
        return dataclasses.replace(self, items=items)

    def head(self, limit: int | None) -> ResidentBatches:
        """Return the first batches that hold `limit` examples together, or a few more: batches are not split."""
        return dataclasses.replace(self, items=first_batches(self.items, limit))

    def batches(self, size: int) -> Iterator[Any]:
        """Yield the batches unchanged; `size` is ignored."""
        return iter(self.items)

    def sha256(self) -> str:
        """Return the hash of the network's input: leaves, batch by batch."""
        digest = hashlib.sha256()
        _update(digest, self.items)
        return digest.hexdigest()


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = pytree.tree_flatten_with_path(tree)
    return [(pytree.keystr(path), leaf) for path, leaf in leaves]


def _slice(tree: Any, start: int, stop: int) -> Any:
    return pytree.tree_map(lambda leaf: leaf[start:stop], tree)


def first_batches(batches: Iterable[Any], limit: int | None) -> tuple[Any, ...]:
    """Return the first batches that hold `limit` examples together, all for None; no further batch is drawn."""
    kept, count = [], 0
    for batch in batches:
        kept.append(batch)
        count += _examples(batch)
        if limit is not None and count >= limit:
            break
    return tuple(kept)


def _examples(batch: Any) -> int:
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, torch.Tensor) and leaf.ndim > 0:
            return leaf.shape[0]
    return 1  # a user-defined object, for example a graph


def _update(digest: Any, tree: Any) -> None:
    for name, leaf in _named_leaves(tree):
        if isinstance(leaf, torch.Tensor):
            digest.update(f"{name} {leaf.dtype} {tuple(leaf.shape)} ".encode())
            # As bytes, because numpy lacks some of torch's dtypes; flattened first, which a scalar needs.
            digest.update(leaf.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        else:
            on_cpu = leaf.to("cpu") if hasattr(leaf, "to") else leaf
            digest.update(f"{name} {type(leaf).__qualname__} ".encode() + pickle.dumps(on_cpu, protocol=4))


def share_examples(
    comm: Comm, load: Callable[[], ResidentData | ResidentBatches]
) -> ResidentData | ResidentBatches:
    """Collective: load a data set once and share it; if it cannot be pickled, every rank loads its own copy."""
    data: Any = comm.on_root_only(load)
    if comm.size == 1:
        return data
    sendable = False
    if comm.is_root:
        leaves, spec = pytree.tree_flatten(_tree(data))
        rest = [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]
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


def _can_pickle(value: Any) -> bool:
    try:
        with quiet():
            pickle.dumps(value)
    except Exception:  # pickle raises what the object raises
        return False
    return True
