"""Data sets and loaders as Python objects."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from lsweep.data import ResidentBatches, ResidentData, from_object
from lsweep.errors import DataError


class Squares(Dataset[Any]):
    """Example i is (i, i²) as tensor and number, or what `make` makes of i."""

    def __init__(self, n: int, make: Callable[[int], Any] | None = None) -> None:
        self.n, self.make = n, make or (lambda i: (torch.tensor([float(i)]), i * i))
        self.drawn: list[int] = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        self.drawn.append(index)
        return self.make(index)


class Stream(IterableDataset[Any]):
    """Five examples without an index."""

    def __iter__(self) -> Iterator[Any]:
        return iter(range(5))


def test_tensors_arrays_and_dicts() -> None:
    x, y = torch.arange(3.0, requires_grad=True), np.arange(3)
    data = from_object({"x": x, "y": (y,)}, limit=2)
    assert isinstance(data, ResidentData) and not data.tree["x"].requires_grad
    assert data.tree["y"][0].tolist() == [0, 1]
    assert from_object(TensorDataset(x, x)).tree[1].tolist() == [0, 1, 2]
    assert from_object(UserDict(x=x)).tree["x"].tolist() == [0, 1, 2]
    assert from_object(data, limit=1).tree["x"].tolist() == [0]


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: [d[i] for i in range(len(d))]], ids=["set", "list"])
def test_a_map_style_data_set_is_collated_in_chunks(monkeypatch: pytest.MonkeyPatch, wrap: Any) -> None:
    monkeypatch.setattr("lsweep.data.objects.CHUNK", 3)
    x, y = from_object(wrap(Squares(7))).tree
    assert x.dtype == torch.float32 and x[:, 0].tolist() == list(range(7))
    assert y.dtype == torch.int64 and y.tolist() == [i * i for i in range(7)]


def test_only_as_many_examples_are_drawn_as_limit_needs() -> None:
    dataset = Squares(100)
    assert len(from_object(dataset, limit=4)) == 4
    assert dataset.drawn == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 3},
        {"batch_size": 3, "shuffle": True, "drop_last": True},
        {"sampler": torch.utils.data.DistributedSampler(range(7), num_replicas=2, rank=1)},
    ],
    ids=["sequential", "shuffled", "distributed"],
)
def test_a_plain_loader_gives_its_data_set_in_order(settings: dict[str, Any]) -> None:
    data = from_object(DataLoader(Squares(7), **settings), limit=6)
    assert isinstance(data, ResidentData) and data.tree[1].tolist() == [0, 1, 4, 9, 16, 25]


def test_a_loader_over_a_tuple_of_examples_and_over_tensors() -> None:
    loader = DataLoader(tuple((torch.tensor(i), i) for i in range(3)))  # type: ignore[arg-type]
    assert from_object(loader).tree[0].tolist() == [0, 1, 2]
    assert from_object(DataLoader(TensorDataset(torch.arange(3)), shuffle=True)).tree[0].tolist() == [0, 1, 2]


def ragged_collate(examples: list[Any]) -> dict[str, torch.Tensor]:
    return {"x": torch.nn.utils.rnn.pad_sequence([torch.ones(n + 1) for n in examples], batch_first=True)}


def test_a_loader_with_its_own_collate_keeps_its_batches() -> None:
    loader = DataLoader(list(range(7)), batch_size=3, collate_fn=ragged_collate)  # type: ignore[arg-type]
    data = from_object(loader)
    assert isinstance(data, ResidentBatches) and len(data) == 7
    assert [tuple(batch["x"].shape) for batch in data.batches(2)] == [(3, 3), (3, 6), (1, 7)]
    assert data.sha256() == from_object(loader).sha256() != data.head(3).sha256()
    assert next(data.to("meta").batches(1))["x"].device.type == "meta"
    assert len(from_object(loader, limit=4)) == len(from_object(data, limit=4)) == 6  # batches stay whole
    assert len(data.head(3)) == 3


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Stream(), batch_size=2),
        DataLoader(list(range(5)), batch_size=2, sampler=[3, 1, 0, 4, 2]),  # type: ignore[arg-type]
        DataLoader(list(range(9)), batch_size=2, sampler=RandomSampler(range(9), num_samples=5)),  # type: ignore
        DataLoader([torch.arange(2), torch.arange(3)], batch_size=None),  # type: ignore[arg-type]
    ],
    ids=["iterable", "sampler", "random sample", "no batching"],
)
def test_loaders_that_are_iterated(loader: DataLoader[Any]) -> None:
    data = from_object(loader)
    assert isinstance(data, ResidentBatches) and len(data) == 5


def test_batches_of_objects_of_the_users_own() -> None:
    class Graph:
        def to(self, device: str) -> str:
            return f"on {device}"

    data = ResidentBatches((Graph(), Graph()))
    assert len(data) == 2 and list(data.to("cuda").batches(1)) == ["on cuda"] * 2
    assert data.sha256() == ResidentBatches((Graph(), Graph())).sha256()


def broken(index: int) -> Any:
    raise KeyError("label")


OBJECT_ERRORS: dict[str, tuple[Any, str]] = {
    "number": (5, "data must be tensors, a data set .*got int"),
    "stream": (Stream(), "a DataLoader; got Stream"),
    "empty": (Squares(0), r"data set \(Squares\) is empty"),
    "empty loader": (DataLoader([], batch_size=2, collate_fn=ragged_collate), "returned no example"),
    "text": (Squares(2, lambda i: (i, "text")), r"data\[1\].* must be a tensor .*got str"),
    "ragged": (Squares(3, torch.zeros), "differ in shape.*pass a DataLoader with its own collate_fn"),
    "ragged chunks": (Squares(1030, lambda i: torch.zeros(1 + i // 1024)), "differ in shape"),
    "other keys": (Squares(2, lambda i: {str(i): i}), "differ in shape"),
    "objects": (Squares(2, lambda i: object()), "transform to tensors, such as torchvision's ToTensor"),
    "failing": (Squares(2, broken), r"example 0 of the data set \(Squares\) could not be read: KeyError"),
    "failing loader": (
        DataLoader(Squares(2, broken), collate_fn=ragged_collate),
        "the loader failed: KeyError: 'label'",
    ),
    "array of objects": ((np.array([{}]),), "array of object cannot be converted to a tensor"),
    "whole tensors in a list": ([torch.zeros(3, 2), torch.zeros(3)], "a tuple instead of a list"),
}


@pytest.mark.parametrize("case", OBJECT_ERRORS)
def test_objects_that_are_no_data(case: str) -> None:
    data, message = OBJECT_ERRORS[case]
    with pytest.raises(DataError, match=message) as caught:
        from_object(data)
    assert "\n" not in str(caught.value)


def test_limit_below_one() -> None:
    with pytest.raises(DataError, match=r"data\.limit must be >= 1, got 0"):
        from_object((torch.zeros(2),), limit=0)
