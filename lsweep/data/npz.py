"""Images and labels from `.npz` files."""

from __future__ import annotations

import glob
import os
import re
from typing import Any

import numpy as np

from lsweep.errors import DataError

_KEY = "data.path"


def natural_key(text: str) -> list[str | int]:
    """Return a sort key that puts train_2 before train_10."""
    parts = re.split(r"([0-9]+)", text)  # text and numbers in turn, text first
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def matching_files(pattern: str) -> list[str]:
    """Return the files that `pattern` names, in natural order: one file, or a glob.

    Raises:
        DataError: there is none.
    """
    if os.path.isfile(pattern):  # first, so that a name with brackets in it works
        return [pattern]
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not found:
        raise DataError(f"{_KEY}: no file matches {pattern!r} (looked from {os.getcwd()!r})", key=_KEY)
    return sorted(sorted(found), key=natural_key)  # ties (01, 1) as text: glob has no order


def read(pattern: str, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Read the first `limit` examples of the files that `pattern` names; later files are not opened.

    Returns:
        images (N, H, W, C), uint8 or float32, and labels (N,) int64, N ≤ limit. Grey images (N, H, W) get
        C = 1.

    Raises:
        DataError: naming the file: absent, damaged, not an npz, or not of this form.
    """
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    count = 0
    for path in matching_files(pattern):
        some_images, some_labels = _read_file(path)
        if images and (some_images.shape[1:], some_images.dtype) != (images[0].shape[1:], images[0].dtype):
            raise DataError(
                f"{path!r}: images are {_form(some_images)}, those of the files before {_form(images[0])}",
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
    arrays = _arrays(path)
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype not in (np.uint8, np.float32) or images.ndim not in (3, 4):
        raise DataError(
            f"{path!r}: images must be uint8 or float32, (N, H, W, C) or (N, H, W); "
            f"got {images.dtype} {images.shape}",
            key=_KEY,
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise DataError(
            f"{path!r}: labels must be integers (N,); got {labels.dtype} {labels.shape}", key=_KEY
        )
    if len(images) != len(labels):
        raise DataError(f"{path!r}: {len(images)} images, but {len(labels)} labels", key=_KEY)
    if images.size == 0:
        raise DataError(f"{path!r} holds no images: their shape is {images.shape}", key=_KEY)
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise DataError(f"{path!r}: labels must be >= 0, the smallest is {labels.min()}", key=_KEY)
    return images if images.ndim == 4 else images[..., None], labels


def _arrays(path: str) -> dict[str, Any]:
    wanted = ("images", "labels")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path!r} is a single array, not an npz archive of images and labels", key=_KEY)
        with archive:
            missing = [key for key in wanted if key not in archive.files]
            if missing:
                listed = " and ".join(map(repr, missing))
                raise DataError(f"{path!r} lacks {listed}; it holds {sorted(archive.files)}", key=_KEY)
            return {key: archive[key] for key in wanted}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and the operating system each have their own
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path!r} holds pickled Python objects, which are refused because loading them can run "
                "code; save plain arrays",
                key=_KEY,
            ) from None
        raise DataError(f"{path!r} cannot be read: {type(error).__name__}: {error}", key=_KEY) from None
