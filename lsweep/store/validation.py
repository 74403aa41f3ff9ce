"""Validation of HDF5 input files: links, types, shapes and sizes are checked before data are read.

Nothing in a file is trusted, including JSON in attributes.
"""

from __future__ import annotations

import errno
import functools
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import h5py
import numpy as np

from lsweep.errors import FileFormatError, InputError
from lsweep.grid import AXIS_NAMES
from lsweep.store import probe

T = TypeVar("T", covariant=True)

# A file may declare any shape, and reading would allocate it, so the declared size is checked against the stored one.
MOST_BYTES = 16 << 30
MOST_TEXT = 16 << 20
# Compressed data may always expand to FREE_BYTES, and beyond that to MOST_EXPANSION times their size in the file.
FREE_BYTES, MOST_EXPANSION = 256 << 20, 64
DEFLATE_LIMIT = 1100  # valid data do not expand further: the limit of deflate is 1032
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
_KINDS = {
    h5py.h5t.INTEGER: "iu",
    h5py.h5t.FLOAT: "f",
    h5py.h5t.COMPOUND: "Vc",  # h5py's complex numbers are compounds
    h5py.h5t.STRING: "SO",
}
_SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: Path) -> None:
    """Check that the path is a readable regular file. Opening a pipe or a device could block for ever.

    Raises:
        FileFormatError: it is not; the message says what it is instead.
    """
    name = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
            return
        problem = f"no file at {name!r}: it is {_SPECIAL.get(stat.S_IFMT(mode), 'something else')}"
    except OSError as error:
        absent = f"no file at {name!r}"
        dangling = f"{absent}: it is a broken symbolic link" if os.path.islink(path) else absent
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        problem = dangling if missing else f"cannot read {name!r}: {os.strerror(error.errno or 0)}"
    except ValueError as error:  # a zero byte
        problem = f"no file at {name!r}: {error}"
    raise FileFormatError(problem, key=name) from None


class Reader(Protocol[T]):
    """A function that reads an HDF5 file."""

    def __call__(self, path: str | Path, *, trusted: bool = False) -> T:
        """Read the file; a child process reads it first unless it is trusted."""
        ...


def probed(read: Callable[[Path], T]) -> Reader[T]:
    """Decorator for a function that reads an HDF5 file: a child process calls it first (see `lsweep.store.probe`).

    Raises:
        FileFormatError: also if the file crashes HDF5 or keeps it busy for too long.
    """

    @functools.wraps(read)
    def probed_read(path: str | Path, *, trusted: bool = False) -> T:
        path = Path(path)
        if not trusted:
            require_file(path)
            probe.require(path, probed_read)
        return read(path)

    return probed_read


@contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """Open any HDF5 file for reading, without a lock.

    Raises:
        FileFormatError: the file does not exist or HDF5 cannot read it; also for damage found while it is open.
    """
    require_file(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except InputError:
        raise
    except (
        Exception
    ) as error:  # for damaged files h5py has raised OSError, RuntimeError, KeyError, TypeError, ValueError
        raise FileFormatError(f"{str(path)!r} is not a readable HDF5 file: {error}", key=str(path)) from None


def checked(
    group: h5py.Group,
    name: str,
    *,
    kinds: str | None = None,
    dtype: np.dtype | None = None,
    ndim: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> h5py.Dataset:
    """Return a dataset that is safe to read: a hard link, stored in this file, of the expected type and shape.

    Args:
        group: the group that contains the dataset.
        name: the path of the dataset below it.
        kinds: allowed `dtype.kind`s, as in "fiu".
        dtype: the exact type.
        ndim: the number of dimensions.
        shape: the exact shape.

    Raises:
        FileFormatError: the dataset is not safe; the message names the file and the dataset, what was expected and what
            was found.
    """
    where = f"{Path(group.file.filename).name}: {name!r}"

    def refuse(problem: str) -> FileFormatError:
        return FileFormatError(f"{where} {problem}", key=name)

    if not is_hard(group, name):
        raise refuse(
            "is a link to another place, which is not followed" if is_there(group, name) else "is absent"
        )
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise refuse("is not a dataset")
    problem = _storage_problem(dataset)
    if problem:
        raise refuse(problem)
    expected = kinds if dtype is None else dtype.kind
    if expected is not None and not set(_KINDS.get(dataset.id.get_type().get_class(), "")) & set(expected):
        raise refuse(f"has type {_type_name(dataset)}, expected kind {expected!r}")
    if kinds is not None and dataset.dtype.kind not in kinds:
        raise refuse(f"has type {dataset.dtype}, expected kind {kinds!r}")
    if dtype is not None and dataset.dtype != dtype:
        raise refuse(f"has type {dataset.dtype}, expected {dtype}")
    if dataset.shape is None or (ndim is not None and dataset.ndim != ndim):
        raise refuse(f"has shape {dataset.shape}, expected {ndim} dimensions")
    if shape is not None and dataset.shape != shape:
        raise refuse(f"has shape {dataset.shape}, expected {shape}")
    if math.prod(dataset.shape) * dataset.dtype.itemsize > _most_bytes(dataset):
        raise refuse(f"declares {dataset.shape} values, more than the file contains")
    return dataset


def _storage_problem(dataset: h5py.Dataset) -> str:
    """Checked before the shape, because querying the shape of a virtual dataset may open the files that it names."""
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        return "keeps its data in another file, which is not read"
    used = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    return f"uses the filters {sorted(used)}, which are not supported" if used - FILTERS else ""


def _most_bytes(dataset: h5py.Dataset) -> int:
    """The largest size that the dataset may declare, given its size in the file."""
    held = dataset.id.get_storage_size()
    if dataset.chunks:
        return min(MOST_BYTES, DEFLATE_LIMIT * held, max(FREE_BYTES, MOST_EXPANSION * held))
    return min(MOST_BYTES, held, os.stat(dataset.file.filename).st_size)


def _type_name(dataset: h5py.Dataset) -> str:
    try:
        return str(dataset.dtype)
    except Exception:  # numpy has no such type
        return "unknown to numpy"


def text(place: h5py.Group, name: str) -> str | None:
    """Read a text attribute; None if it does not exist.

    Raises:
        FileFormatError: the attribute is not a single string.
    """
    if not h5py.h5a.exists(place.id, name.encode()):
        return None
    attribute = h5py.h5a.open(place.id, name.encode())
    is_text = attribute.get_type().get_class() == h5py.h5t.STRING
    if is_text and _is_scalar(attribute) and attribute.get_storage_size() <= MOST_TEXT:
        value = place.attrs[name]
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogateescape")
        return bytes(value).decode("utf-8", "replace")
    raise FileFormatError(f"{place.file.filename!r}: the attribute {name!r} is not text", key=name)


def integer(place: h5py.Group, name: str) -> int | None:
    """Read an integer attribute; None if it does not exist or is not a single integer."""
    if not h5py.h5a.exists(place.id, name.encode()):
        return None
    attribute = h5py.h5a.open(place.id, name.encode())
    if attribute.get_type().get_class() == h5py.h5t.INTEGER and _is_scalar(attribute):
        return int(place.attrs[name])
    return None


def _is_scalar(attribute: h5py.h5a.AttrID) -> bool:
    return bool(attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR)


def is_there(group: h5py.Group, name: str) -> bool:
    """Whether a link of that path exists. Links are not followed, whereas `name in group` may open another file."""
    for part in _prefixes(name):
        if not group.id.links.exists(part):
            return False
        if group.id.links.get_info(part).type != h5py.h5l.TYPE_HARD:
            return True
    return True


def is_hard(group: h5py.Group, name: str) -> bool:
    """Whether the path leads through hard links only, so that following it stays in this file."""
    links = group.id.links
    return all(
        links.exists(part) and links.get_info(part).type == h5py.h5l.TYPE_HARD for part in _prefixes(name)
    )


@probed
def read_direction_file(path: Path) -> dict[str, list[np.ndarray]]:
    """Read directions: axis name → float arrays in parameter order.

    Supports lsweep's files (group `directions/x`, …, if the tensors are stored) and those of the
    released code of [Li18] (groups `xdirection`, `ydirection`, datasets "0", "1", …).

    Raises:
        FileFormatError: the file is neither of these, or a sweep that stores only the recipe of its directions.
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
                f"{str(path)!r} contains the recipe of its directions, but not the tensors; use the same seed, or "
                "sweep with directions.keep = true",
                key=str(path),
            )
    raise FileFormatError(
        f"{str(path)!r} holds no directions; expected groups xdirection, ydirection or directions/x, directions/y",
        key=str(path),
    )


def _numbered(group: h5py.Group) -> list[np.ndarray]:
    names = sorted((name for name in group if re.fullmatch(r"\d{1,9}", name)), key=int)
    if names != [str(i) for i in range(len(names))] or len(names) < len(group) or not names:
        raise FileFormatError(
            f'{group.name!r} must contain datasets "0", "1", … without a gap and nothing else', key=group.name
        )
    return [np.asarray(checked(group, name, kinds="fiu")[...]) for name in names]


def _prefixes(name: str) -> list[bytes]:
    # h5py returns names that are not UTF-8 with surrogates, and accepts bytes.
    parts = name.encode("utf-8", "surrogateescape").split(b"/")
    return [b"/".join(parts[: i + 1]) for i in range(len(parts))]


J = TypeVar("J", list, dict)

_DEEPEST = 50  # levels of JSON, because code that uses it may recurse


def json_value(place: h5py.Group, name: str, kind: type[J]) -> J:
    """Read the list or dictionary in an attribute; an empty one if the attribute does not exist.

    Raises:
        FileFormatError: the attribute contains something else.
    """
    content = text(place, name)
    try:
        value = json.loads(content) if content else kind()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind) or _depth(value) > _DEEPEST:
        raise FileFormatError(
            f"{place.file.filename!r}: the attribute {name!r} is not JSON of the expected type, a {kind.__name__}; "
            "the file is damaged",
            key=name,
        )
    return value


def _depth(value: Any) -> int:
    """The nesting depth of lists and dictionaries."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, (list, dict))]:
        depth += 1
        level = [v for outer in level for v in (outer.values() if isinstance(outer, dict) else outer)]
    return depth
