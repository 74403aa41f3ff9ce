"""Datasets given as Python objects: tensors, map-style datasets, loaders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils import data as loading
from torch.utils.data.distributed import DistributedSampler

from lsweep.data.resident import ResidentBatches, ResidentData, first_batches
from lsweep.errors import DataError, InputError

CHUNK = 1024  # examples collated at once; a list of all of them would hold the data twice, in small pieces


def from_object(data: Any, *, limit: int | None = None) -> ResidentData | ResidentBatches:
    """Load the user's data into memory.

    Args:
        data: one of
            - a tensor, or a tuple or dict (nested) of tensors or numpy arrays, each with the N examples along
              dimension 0;
            - a map-style data set (with `__len__` and `__getitem__`, such as a list of examples), collated with
              torch's default;
            - a DataLoader. If it uses the default collation and samples in order or at random, its whole data set is
              used in index order, regardless of `drop_last`. A DistributedSampler is ignored too, because every rank
              evaluates all examples. Any other loader is iterated once and its batches are kept;
            - a return value of this function.
        limit: keep only the first examples. Batches of a loader are not split.

    Examples are drawn once. With a random augmentation every process therefore gets different data and another hash.

    Raises:
        DataError: `data` is none of these, empty or ragged, or an example could not be read.
    """
    if limit is not None and limit < 1:
        raise DataError(f"data.limit must be >= 1, got {limit}", key="data.limit")
    if isinstance(data, ResidentData | ResidentBatches):
        return data.head(limit)
    if isinstance(data, loading.DataLoader):
        return _from_loader(data, limit)
    if isinstance(data, loading.TensorDataset):
        return _from_tensors(data.tensors, limit)
    if isinstance(data, tuple | Mapping | torch.Tensor | np.ndarray):
        return _from_tensors(data, limit)
    if (
        not isinstance(data, loading.IterableDataset)
        and hasattr(data, "__len__")
        and hasattr(data, "__getitem__")
    ):
        return _from_dataset(data, limit)
    raise DataError(
        "data must be tensors, a data set with __len__ and __getitem__, or a DataLoader; "
        f"got {type(data).__name__}"
    )


def _from_tensors(tree: Any, limit: int | None) -> ResidentData:
    return ResidentData(pytree.tree_map(_as_tensor, _plain(tree))).head(limit)


def _as_tensor(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.detach()
    try:
        return torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf
    except TypeError as error:  # an array of objects or strings
        raise DataError(f"a numpy array of {leaf.dtype} cannot be converted to a tensor: {error}") from None


def _plain(tree: Any) -> Any:
    """Convert mappings that torch's pytrees do not traverse, such as transformers' BatchEncoding, to dicts."""
    return dict(tree) if isinstance(tree, Mapping) and not isinstance(tree, dict) else tree


def _from_dataset(dataset: Any, limit: int | None) -> ResidentData:
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count == 0:
        raise DataError(f"the data set ({type(dataset).__name__}) is empty")
    chunks = [_collate(dataset, range(i, min(i + CHUNK, count))) for i in range(0, count, CHUNK)]
    for chunk in chunks:
        ResidentData(chunk)  # raises for leaves that are not tensors, before they are joined
    try:
        return ResidentData(pytree.tree_map(lambda *leaves: torch.cat(leaves), *chunks))
    except (RuntimeError, ValueError) as error:
        raise _ragged(error) from None


def _collate(dataset: Any, indices: range) -> Any:
    examples = [_example(dataset, index) for index in indices]
    try:
        return loading.default_collate(examples)
    except (RuntimeError, ValueError, KeyError) as error:
        raise _ragged(error) from None
    except TypeError as error:
        raise DataError(
            f"examples cannot be collated into a batch ({error}); give the data set a transform to tensors, "
            "such as torchvision's ToTensor"
        ) from None


def _example(dataset: Any, index: int) -> Any:
    try:
        return dataset[index]
    except InputError:
        raise
    except Exception as error:
        raise DataError(
            f"example {index} of the data set ({type(dataset).__name__}) could not be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _ragged(error: Exception) -> DataError:
    return DataError(
        f"the examples differ in shape ({error}); pass a DataLoader with its own collate_fn, "
        "or a tuple instead of a list if these are tensors of all examples"
    )


def _from_loader(loader: loading.DataLoader[Any], limit: int | None) -> ResidentData | ResidentBatches:
    if _can_be_recut(loader):
        dataset: Any = loader.dataset
        if isinstance(dataset, loading.TensorDataset):
            return _from_tensors(dataset.tensors, limit)
        return _from_dataset(dataset, limit)
    try:
        return ResidentBatches(first_batches(map(_plain, loader), limit))
    except InputError:
        raise
    except Exception as error:
        raise DataError(f"the loader failed: {type(error).__name__}: {error}") from error


def _can_be_recut(loader: loading.DataLoader[Any]) -> bool:
    dataset: loading.Dataset[Any] = loader.dataset
    if isinstance(dataset, loading.IterableDataset) or loader.collate_fn is not loading.default_collate:
        return False
    if type(loader.batch_sampler) is not loading.BatchSampler:  # None: the data set itself returns batches
        return False
    sampler = loader.sampler
    if type(sampler) is loading.RandomSampler:
        return not sampler.replacement and sampler.num_samples == len(sampler.data_source)
    return type(sampler) is loading.SequentialSampler or isinstance(sampler, DistributedSampler)
