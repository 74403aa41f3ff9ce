"""HDF5 files as input: look at what a link, a type and a size claim to be before reading a byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from lsweep.errors import FileFormatError
from lsweep.grid import AXIS_NAMES

# A file may declare any shape it likes, and reading would allocate it: what it declares must be there.
MOST_BYTES = 16 << 30
MOST_EXPANSION = 1100  # of compressed data; deflate's limit is 1032


@contextmanager
def open_file(path: str | Path) -> Iterator[h5py.File]:
    """Open any HDF5 file for reading, without a lock.

    Raises:
        FileFormatError: no such file, or none that HDF5 can read; also for damage met while it is open.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"no file at {str(path)!r}", key=str(path))
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # what h5py raises for damage, by depth
        raise FileFormatError(f"{str(path)!r} is not a readable HDF5 file: {error}", key=str(path)) from None


def checked(
    group: h5py.Group,
    name: str,
    *,
    kinds: str | None = None,
    ndim: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> h5py.Dataset:
    """A dataset that is safe to read: a hard link, stored in this file, of the expected type and shape.

    Args:
        group: where to look.
        name: the path below it.
        kinds: allowed `dtype.kind`s, as in "fiu".
        ndim: the number of dimensions.
        shape: the exact shape.

    Raises:
        FileFormatError: naming the file and the dataset, what was expected and what came.
    """
    where = f"{Path(group.file.filename).name}: {name!r}"

    def refuse(problem: str) -> FileFormatError:
        return FileFormatError(f"{where} {problem}", key=name)

    if not is_hard(group, name):
        raise refuse(
            "is a link to elsewhere, which is not followed" if is_there(group, name) else "is absent"
        )
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise refuse("is not a dataset")
    if dataset.external or dataset.is_virtual:
        raise refuse("keeps its data in another file, which is not followed")
    if kinds is not None and dataset.dtype.kind not in kinds:
        raise refuse(f"has type {dataset.dtype}, expected kind {kinds!r}")
    if dataset.shape is None or (ndim is not None and dataset.ndim != ndim):
        raise refuse(f"has shape {dataset.shape}, expected {ndim} dimensions")
    if shape is not None and dataset.shape != shape:
        raise refuse(f"has shape {dataset.shape}, expected {shape}")
    size, held = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if size > MOST_BYTES or size > held * (MOST_EXPANSION if dataset.chunks else 1):
        raise refuse(f"declares {dataset.shape} values, more than are there")
    return dataset


def is_there(group: h5py.Group, name: str) -> bool:
    """Whether there is a link of that path. No link is followed: `name in group` would open another file."""
    for part in _prefixes(name):
        if not group.id.links.exists(part.encode()):
            return False
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            return True
    return True


def is_hard(group: h5py.Group, name: str) -> bool:
    """Whether the path leads through hard links only, so that following it stays in this file."""
    links = group.id.links
    return all(
        links.exists(part.encode()) and links.get_info(part.encode()).type == h5py.h5l.TYPE_HARD
        for part in _prefixes(name)
    )


def read_direction_file(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Read directions: axis name → float arrays in parameter order.

    Understands lsweep's files (group `directions/x`, …, where the tensors are stored) and those of the
    released code of [Li18] (groups `xdirection`, `ydirection`, datasets "0", "1", …).

    Raises:
        FileFormatError: neither of these; or a sweep that keeps only the recipe of its directions.
    """
    with open_file(path) as file:
        found = {}
        for axis in AXIS_NAMES:
            for name in (f"directions/{axis}", f"{axis}direction"):
                if is_hard(file, name) and isinstance(file[name], h5py.Group):
                    found[axis] = _numbered(file[name])
        if found:
            return found
        if is_there(file, "directions"):
            raise FileFormatError(
                f"{str(path)!r} keeps the recipe of its directions, not the tensors: use the same seed, or "
                "sweep with directions.keep = true",
                key=str(path),
            )
    raise FileFormatError(
        f"{str(path)!r} holds no directions: expected groups xdirection, ydirection or directions/x, directions/y",
        key=str(path),
    )


def _numbered(group: h5py.Group) -> list[np.ndarray]:
    names = sorted((name for name in group if re.fullmatch(r"\d{1,9}", name)), key=int)
    if names != [str(i) for i in range(len(names))] or len(names) < len(group) or not names:
        raise FileFormatError(
            f'{group.name!r} should hold datasets "0", "1", … without a gap', key=group.name
        )
    return [np.asarray(checked(group, name, kinds="fiu")[...]) for name in names]


def _prefixes(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
