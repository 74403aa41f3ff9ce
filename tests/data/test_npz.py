"""Images in npz files: natural order, limits, and files that are not as they should be."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_samples import MEAN, STD, arrays, joined

from lsweep.config import DataConfig
from lsweep.data import load, npz
from lsweep.errors import DataError
from lsweep.tools import files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def two_files(folder: Path) -> Path:
    """Five examples in train_2 and four in train_10, labelled 0…8 in natural order."""
    np.savez(folder / "train_2.npz", **arrays(5), extra=np.array([{}], dtype=object))
    np.savez(folder / "train_10.npz", **arrays(4, first=5))
    return folder


def from_npz(path: str = "train_*.npz", **settings: Any) -> Any:
    return load(DataConfig("npz", path=path, **settings), "train")


def test_natural_order() -> None:
    names = ["a10.npz", "a2.npz", "b1.npz", "a2b10.npz", "a2b9.npz", "2.npz", "10.npz"]
    expected = ["2.npz", "10.npz", "a2.npz", "a2b9.npz", "a2b10.npz", "a10.npz", "b1.npz"]
    assert sorted(names, key=npz.natural_key) == expected


def test_npz_files_in_natural_order(two_files: Path) -> None:
    data = from_npz()
    images, labels = data.tree
    assert images.dtype == torch.uint8 and images.shape == (9, 4, 5, 3)
    assert labels.dtype == torch.int64 and labels.tolist() == list(range(9))
    scaled = joined(data)[0]
    assert scaled.shape == (9, 3, 4, 5)
    assert torch.equal(scaled.permute(0, 2, 3, 1), images.float() / 255)


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (5, 5), (7, 7), (100, 9)])
def test_npz_limit(two_files: Path, limit: int, count: int) -> None:
    assert from_npz(limit=limit).tree[1].tolist() == list(range(count))


def test_npz_reads_only_the_files_that_limit_needs(two_files: Path) -> None:
    (two_files / "train_10.npz").write_text("not needed")
    assert len(from_npz(limit=5)) == 5
    with pytest.raises(DataError, match=r"train_10\.npz"):
        from_npz(limit=6)


def test_npz_of_both_splits(two_files: Path) -> None:
    config = DataConfig("npz", path="train_2.npz", test_path="train_10.npz", split=("train", "test"))
    assert (len(load(config, "train")), len(load(config, "test"))) == (5, 4)
    swapped = DataConfig("npz", path="train_2.npz", test_path="train_10.npz", split=("test", "train"))
    assert (len(load(swapped, "train")), len(load(swapped, "test"))) == (4, 5)
    alone = DataConfig("npz", path="train_10.npz", split=("test",))
    assert len(load(alone, "test")) == 4
    with pytest.raises(DataError, match="must contain 'train'"):
        load(alone, "train")


def test_npz_grey_and_float_images(folder: Path) -> None:
    grey = arrays(3, shape=(4, 5))
    np.savez("grey.npz", images=grey["images"], labels=grey["labels"].astype(np.uint8))
    images, labels = joined(from_npz("grey.npz", mean=(0.5,)))
    assert images.shape == (3, 1, 4, 5) and labels.dtype == torch.int64
    real = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    np.savez("real.npz", images=real, labels=grey["labels"])
    assert np.array_equal(joined(from_npz("real.npz"))[0].numpy(), real.transpose(0, 3, 1, 2))
    normalised = joined(from_npz("real.npz", mean=(1.0, 2.0), std=(2.0, 4.0)))[0].numpy()
    assert np.array_equal(normalised[:, 1], (real[..., 1] - 2) / 4)


def test_npz_with_brackets_in_its_name(folder: Path) -> None:
    np.savez("data [v1] é.npz", **arrays(2))
    assert len(from_npz("data [v1] é.npz")) == 2


def without(key: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays(3).items() if name != key}


NPZ_ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": (without("labels"), r"lacks 'labels'; it contains \['images'\]"),
    "neither": ({"x": np.zeros(3)}, r"lacks 'images' and 'labels'; it contains \['x'\]"),
    "lengths": ({**arrays(3), "labels": np.arange(4)}, "3 images, but 4 labels"),
    "float64": ({**arrays(3), "images": np.zeros((3, 4, 4, 3))}, "got float64 "),
    "flat": ({**arrays(3), "images": np.zeros((3, 48), np.uint8)}, r"got uint8 \(3, 48\)"),
    "one-hot": ({**arrays(3), "labels": np.eye(3, dtype=int)}, r"integers \(N,\); got int64 \(3, 3\)"),
    "real labels": ({**arrays(3), "labels": np.zeros(3)}, "got float64"),
    "bool labels": ({**arrays(3), "labels": np.zeros(3, bool)}, "got bool"),
    "negative": ({**arrays(3), "labels": np.array([0, -1, 2])}, "labels must be >= 0, got -1"),
    "too large": ({**arrays(1), "labels": np.array([2**64 - 1], np.uint64)}, "labels must be >= 0"),
    "empty": (arrays(0), "contains no images"),
    "no pixels": (arrays(2, shape=(0, 4, 3)), "contains no images"),
    "pickled": ({**arrays(1), "labels": np.array([{}], dtype=object)}, "pickled Python objects.*refused"),
}


@pytest.mark.parametrize("case", NPZ_ERRORS)
def test_npz_errors_name_the_file(folder: Path, case: str) -> None:
    content, message = NPZ_ERRORS[case]
    np.savez("bad.npz", **content)
    with pytest.raises(DataError, match=f"'bad.npz'.*{message}") as caught:
        from_npz("bad.npz")
    assert "\n" not in str(caught.value) and caught.value.key == "data.path"


def damage(content: bytes) -> bytes:
    """Change the last byte of the first array."""
    end = content.index(b"PK", 4) - 1
    return content[:end] + bytes([content[end] ^ 255]) + content[end + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"hello",
        lambda content: pickle.dumps([1]),
        damage,
    ],
    ids=["truncated", "empty", "text", "pickle", "one byte"],
)
def test_npz_that_is_damaged(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    np.savez("bad.npz", **arrays(3))
    path = folder / "bad.npz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=r"'bad\.npz' (cannot be read|contains pickled)") as caught:
        from_npz("bad.npz")
    assert "\n" not in str(caught.value)


def hand_made(path: str, header: str, size: int, method: int = zipfile.ZIP_STORED) -> None:
    """An npz whose images have that header and so many bytes of zeros."""
    labels = io.BytesIO()
    np.save(labels, np.arange(2))
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin-1")
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("images.npy", start + bytes(size))
        archive.writestr("labels.npy", labels.getvalue())


def header(descr: str = "'|u1'", shape: str = "(2, 3, 3)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


LIES = {
    "gigantic": (header(shape="(2, 1000000, 1000000)"), "declares uint8 .* not match its contents"),
    "short": (header(shape="(2, 3, 2)"), "declares uint8 .* not match its contents"),
    "negative": (header(shape="(-2, -3, 3)"), "cannot be read|not match its contents|-2 images"),
    "negative and fitting": (header(shape="(2, -3, -3)"), "cannot be read"),
    "wide type": (header(descr="('|u1', (1000000000,))", shape="(2,)"), "not match its contents"),
    "objects": (header(descr="'|O'", shape="(2,)"), "pickled Python objects"),
    "no header": ("9", "cannot be read"),
    "code": (header(descr="__import__('os').mkdir('i_was_here')"), "cannot be read"),
    "remarks of the parser": (header(descr="'|u1' if 1else 2"), "cannot be read"),
    "depth": ("-" * 9000 + "1", "cannot be read"),
}


@pytest.mark.parametrize("case", LIES)
def test_npz_headers_that_lie(folder: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    text, message = LIES[case]
    hand_made("bad.npz", text, 18)
    with pytest.raises(DataError, match=message) as caught:
        from_npz("bad.npz")
    assert str(caught.value).isprintable() and "bad.npz" in str(caught.value)
    assert capfd.readouterr().err == ""
    assert not Path("i_was_here").exists()


def test_hand_made_npz_are_read_where_they_are_true(folder: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        hand_made("good.npz", header(), 18, method)
        assert from_npz("good.npz").tree[0].shape == (2, 3, 3, 1)


def test_npz_that_is_a_bomb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FREE_BYTES", 1 << 20)
    hand_made("bomb.npz", header(shape="(2, 1000, 1000)"), 2_000_000, zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="would unpack to 2,000"):
        from_npz("bomb.npz")
    hand_made("large.npz", header(shape="(2, 1000, 1000)"), 2_000_000)
    assert len(from_npz("large.npz")) == 2


def test_npz_that_is_a_single_array(folder: Path) -> None:
    np.save("one.npy", np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        from_npz("one.npy")


@pytest.mark.parametrize("path", ["absent.npz", "absent_*.npz", "."])
def test_npz_that_is_absent(folder: Path, path: str) -> None:
    with pytest.raises(DataError, match="no file matches"):
        from_npz(path)


def test_npz_without_a_path(folder: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path must name"):
        load(DataConfig("npz"), "train")
    with pytest.raises(DataError, match=r"data\.test_path must name"):
        load(DataConfig("npz", path="x", split=("train", "test")), "test")


def test_npz_files_that_differ(two_files: Path) -> None:
    np.savez("train_3.npz", **arrays(2, shape=(4, 4, 3)))
    with pytest.raises(
        DataError, match=r"'train_3\.npz': all files must have .* uint8 \(4, 4, 3\) after uint8 \(4, 5, 3\)"
    ):
        from_npz()


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({"mean": (0.5,)}, r"data\.mean needs one value per channel; got 1 values .* 3 channels"),
        ({"std": (0.5,) * 4}, r"data\.std needs one value per channel; got 4 values .* 3 channels"),
        ({"std": (0.5, 0.0, 0.5)}, r"data\.std must be positive"),
        ({"mean": (0.5, float("nan"), 0.5)}, r"data\.mean must be finite"),
    ],
)
def test_mean_and_std_that_do_not_fit(two_files: Path, statistics: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_npz(**statistics)


def test_cifar10_npz(shared: Path) -> None:
    path = str(shared / "data" / "cifar10" / "train_*.npz")
    data = load(DataConfig("npz", path=path, limit=300, mean=MEAN, std=STD), "train")
    images, labels = next(data.batches(300))
    assert images.shape == (300, 3, 32, 32) and set(labels.tolist()) == set(range(10))
    assert images.mean().abs() < 0.1 and (images.std() - 1).abs() < 0.1
