"""Data in memory and data by name: against torchvision's transforms, and every way in which it can be wrong."""

from __future__ import annotations

import pickle
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_samples import MEAN, STD, arrays, joined

from lsweep.config import DataConfig
from lsweep.data import ResidentData, load
from lsweep.data.images import ImageTransform
from lsweep.errors import ConfigError, DataError, MissingExtra


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- resident data


def test_batches_are_in_order_and_the_last_may_be_short() -> None:
    data = ResidentData((torch.arange(7), {"y": torch.arange(7) * 2}))
    assert len(data) == 7
    assert [batch[0].tolist() for batch in data.batches(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch[1]["y"].tolist() for batch in data.batches(5)] == [[0, 2, 4, 6, 8], [10, 12]]
    with pytest.raises(DataError, match="at least 1"):
        next(data.batches(0))


def test_to_moves_every_leaf_and_keeps_the_transform() -> None:
    data = ResidentData((torch.zeros(2, 3), [torch.zeros(2)]), transform=ImageTransform()).to("meta")
    assert data.tree[0].device.type == data.tree[1][0].device.type == "meta"
    assert data.transform == ImageTransform()


def test_head() -> None:
    data = ResidentData(torch.arange(5))
    assert data.head(2).tree.tolist() == [0, 1]
    assert data.head(9) is data and data.head(None) is data


def test_hash_sees_bytes_dtype_shape_structure_and_transform() -> None:
    x = torch.arange(6, dtype=torch.int32)
    trees: list[Any] = [x, x + 1, x.long(), x.view(3, 2), x.view(2, 3), (x,), {"a": x}, {"b": x}, x.float()]
    trees += [x.view(torch.float32), x.bfloat16(), x.bool()]
    data = [ResidentData(tree) for tree in trees]
    data += [ResidentData(x, ImageTransform()), ResidentData(x, ImageTransform(MEAN, STD))]
    hashes = [some.sha256() for some in data]
    assert len(set(hashes)) == len(hashes)
    assert ResidentData(x.clone()).sha256() == hashes[0]


def test_hash_depends_on_values_not_on_memory() -> None:
    x = torch.arange(6.0).view(2, 3)
    assert ResidentData(x.t().contiguous().t()).sha256() == ResidentData(x).sha256()
    assert ResidentData(x, lambda t: t).sha256() == ResidentData(x, lambda t: t).sha256()  # no addresses


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ((), "contain no tensor"),
        ((torch.zeros(2), "text"), r"data\[1\] must be a tensor .* got str"),
        ({"x": torch.tensor(1.0)}, r"data\['x'\] must be .* got a tensor without dimensions"),
        ((torch.zeros(2), torch.zeros(3, 1)), r"agree in their number of examples, got data\[0\] \(2,\)"),
        ((torch.zeros(0, 3), torch.zeros(0)), "contain no example"),
    ],
)
def test_trees_that_are_no_data(tree: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ResidentData(tree)


# --- the transform


@pytest.mark.parametrize("statistics", [(None, None), (MEAN, STD)])
def test_transform_has_the_bits_of_torchvision(statistics: tuple[Any, Any]) -> None:
    from torchvision import transforms

    everything = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    images = np.concatenate([everything, arrays(9, shape=(16, 16, 3))["images"]])
    steps = [transforms.ToTensor(), *([transforms.Normalize(*statistics)] if statistics[0] else [])]
    expected = torch.stack([transforms.Compose(steps)(image) for image in images])
    labels = torch.arange(len(images))
    got, same_labels = ImageTransform(*statistics)((torch.from_numpy(images), labels))
    assert torch.equal(got, expected) and same_labels is labels
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_transform_leaves_its_input_alone() -> None:
    images = torch.rand(2, 4, 4, 3)
    before = images.clone()
    ImageTransform(MEAN, STD)((images, torch.zeros(2)))
    assert torch.equal(images, before)


def test_transform_can_be_pickled_and_names_its_numbers() -> None:
    transform = ImageTransform(MEAN, STD)
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert repr(transform) == f"ImageTransform(mean={MEAN}, std={STD})"


def test_transform_used_under_inference_mode_first_works_under_autograd_later() -> None:
    transform = ImageTransform((0.123,), (0.456,))
    images = torch.zeros(1, 2, 2, 1, dtype=torch.uint8)
    with torch.inference_mode():
        transform((images, images))
    weight = torch.ones(1, requires_grad=True)
    (transform((images, images))[0] * weight).sum().backward()
    assert weight.grad is not None


# --- sources by name


def test_unknown_source() -> None:
    with pytest.raises(DataError, match=r"unknown source 'cifar' \(did you mean 'cifar10'\?\)"):
        load(DataConfig("cifar"), "train")


def test_digits() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    config = DataConfig("digits", split=("train", "test"))
    train, test = joined(load(config, "train")), joined(load(config, "test"))
    assert train[0].shape == (1437, 1, 8, 8) and test[0].shape == (360, 1, 8, 8)
    assert train[0].dtype == torch.float32 and (train[0].min(), train[0].max()) == (0, 1)
    # Both splits together are the data set, each example once.
    rows = np.concatenate([np.c_[x.flatten(1) * 16, y] for x, y in (train, test)])
    truth = np.c_[datasets.load_digits().data, datasets.load_digits().target]
    assert np.array_equal(rows[np.lexsort(rows.T)], truth[np.lexsort(truth.T)])
    assert torch.equal(joined(load(DataConfig("digits", limit=10), "train"))[0], train[0][:10])


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install '.\[demo\]'"):
        load(DataConfig("digits"), "train")


class FakeCIFAR10:
    """Stands for torchvision's, which needs the network."""

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        if root == "fetched" and not download:
            raise RuntimeError("Dataset not found")
        content = arrays(6 if train else 4)
        self.root, self.data, self.targets = root, content["images"], content["labels"].tolist()


def test_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCIFAR10)
    config = DataConfig("cifar10", split=("train", "test"), mean=MEAN, std=STD, limit=5)
    train, test = load(config, "train"), load(config, "test")
    assert (len(train), len(test)) == (5, 4)
    assert train.tree[0].dtype == torch.uint8 and train.transform == ImageTransform(MEAN, STD)
    assert len(load(DataConfig("cifar10", path="fetched"), "train")) == 6


def test_cifar10_without_files_or_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match=r"not in 'nowhere' and could not be downloaded .*no route"):
        load(DataConfig("cifar10", path="nowhere"), "train")


PLUGIN = """
import torch
def both(split): return torch.arange(4 if split == "train" else 3),
def keywords(**settings): return both(settings["split"])
def plain(): return both("train")
def fails(): raise OSError("disk")
whole = both("train")
"""


@pytest.mark.parametrize("name", ["both", "keywords", "plain", "whole"])
def test_a_users_factory(folder: Path, name: str) -> None:
    (folder / "mine.py").write_text(PLUGIN)
    config = DataConfig(f"mine.py:{name}", split=("train", "test"), limit=3)
    assert load(config, "train").tree[0].tolist() == [0, 1, 2]
    assert len(load(config, "test")) == 3


def test_a_users_factory_that_fails(folder: Path) -> None:
    (folder / "mine.py").write_text(PLUGIN)
    with pytest.raises(DataError, match=r"'mine\.py:fails' failed: OSError: disk"):
        load(DataConfig("mine.py:fails"), "train")
    with pytest.raises(ConfigError, match="no 'absent' in it"):
        load(DataConfig("mine.py:absent"), "train")
    with pytest.raises(DataError, match=r"data\.mean and data\.std apply only to npz"):
        load(DataConfig("mine.py:plain", mean=(0.5,)), "train")
