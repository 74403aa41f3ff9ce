"""Images and labels from `.npz` files."""

from __future__ import annotations

import glob
import math
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from typing import IO

import numpy as np

from lsweep.errors import DataError
from lsweep.tools import files

_KEY = "data.path"


def natural_key(text: str) -> list[str | int]:
    """Return a sort key that puts train_2 before train_10."""
    parts = re.split(r"([0-9]+)", text)  # alternating text and numbers, text first
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def matching_files(pattern: str) -> list[str]:
    """Return the files that `pattern`, a path or a glob, names, in natural order.

    Raises:
        DataError: no file matches.
    """
    if os.path.isfile(pattern):  # checked first, so that a name with brackets works
        return [pattern]
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not found:
        raise DataError(f"{_KEY}: no file matches {pattern!r} (relative to {os.getcwd()!r})", key=_KEY)
    return sorted(
        sorted(found), key=natural_key
    )  # ties (01, 1) are sorted as text, because glob has no order


def read(pattern: str, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Read the first `limit` examples of the files that `pattern` names; later files are not opened.

    Returns:
        images (N, H, W, C), uint8 or float32, and labels (N,) int64, N ≤ limit. Grey images (N, H, W) get
        C = 1.

    Raises:
        DataError: a file is missing, damaged, not an npz archive, or not of this form; the message names it.
    """
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    count = 0
    for path in matching_files(pattern):
        some_images, some_labels = _read_file(path)
        if images and (some_images.shape[1:], some_images.dtype) != (images[0].shape[1:], images[0].dtype):
            raise DataError(
                f"{path!r}: all files must have images of the same type and shape; got {_form(some_images)} after "
                f"{_form(images[0])}",
                key=_KEY,
            )
        left = None if limit is None else limit - count
        images.append(some_images[:left])
        labels.append(some_labels[:left])
        count += len(images[-1])
        if count == limit:
            break
    return np.concatenate(images), np.concatenate(labels)


def _form(images: np.ndarray) -> str:
    return f"{images.dtype} {images.shape[1:]}"


def _read_file(path: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _arrays(path)
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise DataError(f"{path!r}: labels must be >= 0, got {labels.min()}", key=_KEY)
    return images if images.ndim == 4 else images[..., None], labels


def _arrays(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read images and labels; their headers are checked before anything is unpacked."""
    try:
        if not files.is_zip(path):
            raise DataError(_no_archive(path), key=_KEY)
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header is parsed as Python, which may emit syntax warnings
            members = _members(path, archive)
            forms = [_form_of(archive, member) for member in members]
            problem = _problem(*forms) or files.zip_bomb(members)
            if problem:
                raise DataError(f"{path!r}: {problem}", key=_KEY)
            images, labels = (_unpacked(archive, member) for member in members)
            return images, labels
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and the operating system raise different types
        raise DataError(f"{path!r} cannot be read: {type(error).__name__}: {error}", key=_KEY) from None


def _no_archive(path: str) -> str:
    with open(path, "rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        return f"{path!r} is a single array, not an npz archive of images and labels"
    return f"{path!r} cannot be read: it is not an npz archive"


def _members(path: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Find images and labels in the archive, with or without numpy's suffix .npy."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    missing = [key for key in ("images", "labels") if key not in members]
    if missing:
        listed = " and ".join(map(repr, missing))
        raise DataError(f"{path!r} lacks {listed}; it contains {sorted(members)}", key=_KEY)
    return [members["images"], members["labels"]]


def _form_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and dtype that an array's header declares.

    Raises:
        DataError, ValueError: the array is pickled, has an unknown version, or has another size than declared.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{member.filename!r} has format version {version}")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise DataError(
                f"{archive.filename!r} contains pickled Python objects, which are refused because loading them can "
                "run code; save plain arrays",
                key=_KEY,
            )
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(
                f"{member.filename!r} declares {dtype} {shape}, which does not match its contents"
            )
    return shape, dtype


def _problem(images: tuple[tuple[int, ...], np.dtype], labels: tuple[tuple[int, ...], np.dtype]) -> str:
    """Describe what is wrong with the shapes and dtypes; "" if nothing is."""
    (shape, dtype), (label_shape, label_dtype) = images, labels
    if dtype not in (np.uint8, np.float32) or len(shape) not in (3, 4):
        return f"images must be uint8 or float32, (N, H, W, C) or (N, H, W); got {dtype} {shape}"
    if not np.issubdtype(label_dtype, np.integer) or len(label_shape) != 1:
        return f"labels must be integers (N,); got {label_dtype} {label_shape}"
    if shape[0] != label_shape[0]:
        return (
            f"images and labels must have the same length; got {shape[0]} images, but {label_shape[0]} labels"
        )
    return f"it contains no images: their shape is {shape}" if math.prod(shape) == 0 else ""


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


# Version 3 is for structured arrays whose names are not latin-1, which are neither images nor labels.
_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], tuple[tuple[int, ...], bool, np.dtype]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
