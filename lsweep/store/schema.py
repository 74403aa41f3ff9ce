"""File layout (format version 1): datasets of fixed size, contiguous, allocated early.

All metadata is written here, once, by one process. Afterwards a sweep only changes raw bytes at known offsets, so a
process that dies during a write cannot leave the file unreadable. Filters and chunks are not used, because independent
parallel writes fail or hang with them.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from lsweep.errors import ConfigError, InputError
from lsweep.grid import Grid
from lsweep.surface import Column, Trajectory
from lsweep.tools.files import replacing


class Image(mmap.mmap):
    """A file in memory for h5py. Pages that were never written are zero and take no memory.

    Args:
        size: an upper bound on the size of the file.

    Attributes:
        end: the size of the file.
    """

    end: int

    def __new__(cls, size: int) -> Image:
        """Reserve addresses for `size` bytes."""
        image = super().__new__(cls, -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        image.end = 0
        return image

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:  # type: ignore[override]
        """Set the position, relative to the file's end for SEEK_END."""
        super().seek(offset + self.end if whence == os.SEEK_END else offset)
        return self.tell()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer from the current position."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        """Write at the current position."""
        count = super().write(data)
        self.end = max(self.end, self.tell())
        return count

    def truncate(self, size: int) -> int:
        """Set the size of the file."""
        self.end = size
        return size

    def flush(self, *_: int) -> None:
        """Do nothing: there is no underlying file."""


FORMAT = "lsweep"
FORMAT_VERSION = 1
# Old file structures, which every HDF5 since 1.8 reads and which need no metadata updates for raw writes.
LIBVER = ("earliest", "v108")
SESSIONS = 64  # rows of the ring buffer
_ROOM, _ROOM_PER_TENSOR = (
    64 << 20,
    4096,
)  # addresses reserved for the metadata of a new file; unused ones take no memory
SESSION = np.dtype(
    [
        ("job", "S64"),
        ("ranks", "<i4"),
        ("hosts", "S256"),
        ("mode", "S8"),
        ("start", "<f8"),
        ("stop", "<f8"),
        ("points", "<i8"),
    ]
)
BOOKKEEPING: dict[str, tuple[str, Any]] = {
    "status": ("u1", 0),
    "seconds": ("<f4", np.nan),
    "rank": ("<i4", -1),
}
# How a point's values were computed; which of these columns a file has depends on the evaluator.
CURVATURE = tuple(
    f"curvature/{name}" for name in ("eig_min", "eig_max", "residual_min", "residual_max", "products")
)
COLUMNS = ("batch_size", "examples", "precision", *CURVATURE)
GROUPS = ("sessions", "directions", "curvature", "trajectory", "certificate")
# The group `trajectory/`: fields of `lsweep.surface.Trajectory`, complete when the file is created.
TRAJECTORY = {
    "coordinates": "<f8",
    "epochs": "<i4",
    "learning_rates": "<f8",
    "trails": "<i4",
    "shares": "<f8",
    "explained": "<f8",
}
RESERVED = ("x", "y", "z", *BOOKKEEPING, *COLUMNS, *GROUPS, "eig_min", "eig_max", "eig_ratio")


@dataclass(frozen=True)
class StoredDirections:
    """The directions as stored in the file.

    Attributes:
        recipe: how they were made, as in the configuration.
        hashes: axis → SHA-256 of the tensors.
        fingerprints: axis → float64 samples and norms, to recognise the directions on another kind of CPU.
        tensors: axis → arrays in parameter order; empty if they can be redrawn from a seed.
        names: the parameters' names, in the same order.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, np.ndarray] = field(default_factory=dict)
    tensors: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Header:
    """Everything that is fixed when a file is created.

    Attributes:
        grid: the axes.
        names: the metrics, in the order of `Batch.values`.
        identity: the properties that a resume must match, field → value (JSON types).
        config: the resolved configuration, TOML text.
        provenance: versions, commit, hardware (JSON types).
        directions: see `StoredDirections`.
        columns: numbers per point that describe how the values were computed.
        trajectory: the path of a training in the plane, if there is one.
        curvature: settings that the eigenvalues of all points share, such as the tolerance.
    """

    grid: Grid
    names: tuple[str, ...]
    identity: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    directions: StoredDirections = StoredDirections()
    columns: Mapping[str, Column] = field(default_factory=dict)
    trajectory: Trajectory | None = None
    curvature: Mapping[str, Any] = field(default_factory=dict)


def check_names(names: Sequence[str]) -> None:
    """Check that metric names are identifiers and not reserved by the schema.

    Raises:
        ConfigError: a name is invalid; the message names the metric.
    """
    for name in names:
        if name in RESERVED or not name.isidentifier():
            raise ConfigError(
                f"a metric cannot be called {name!r}: it must be a word other than "
                f"{', '.join(name for name in RESERVED if name.isidentifier())}"
            )


def datasets(
    names: Sequence[str], columns: Mapping[str, Column] = MappingProxyType({})
) -> dict[str, tuple[str, Any]]:
    """Per-point datasets: name → (dtype, fill value). `accuracy` exists even if none is defined."""
    metrics = dict.fromkeys([*names, *(() if "accuracy" in names else ("accuracy",))], ("<f8", np.nan))
    return {**metrics, **columns, **BOOKKEEPING}


def create(path: Path, header: Header) -> None:
    """Create the file atomically: it is written under a temporary name, made durable, then renamed.

    Raises:
        InputError: the folder does not exist or is not writable, or the disk is full.
    """
    try:
        content, later = image(header)
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                file.write(content)
                for offset, tensor in later:
                    file.seek(offset)
                    file.write(np.ascontiguousarray(tensor, dtype="<f4").data)
            fsync_path(temporary)
        fsync_path(path.parent)
    except (OSError, RuntimeError) as error:  # h5py raises either
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(f"cannot create {str(path)!r}: {reason}", key="output") from None


def image(header: Header) -> tuple[memoryview, list[tuple[int, np.ndarray]]]:
    """Make the new file's bytes in memory; return them, and the directions' tensors with their offsets.

    The file is made in memory because HDF5 cannot recover from a full disk: the file stays open and fails again, with
    long messages, whenever one of its objects is released. Every byte is written, so that the file has all its blocks
    from the start. The tensors may be as large as everything else in a rank's memory, so they are never copied.
    """
    tensors = [tensor for several in header.directions.tensors.values() for tensor in several]
    points = sum(np.dtype(dtype).itemsize for dtype, _ in datasets(header.names, header.columns).values())
    room = 4 * sum(tensor.size for tensor in tensors) + header.grid.size * points
    content = Image(room + len(tensors) * _ROOM_PER_TENSOR + _ROOM)
    with h5py.File(content, "w", libver=LIBVER) as file:
        later = _write_header(file, header)
    return memoryview(content)[: content.end], later


def fsync_path(path: str | Path) -> None:
    """Make a file's (or folder's) contents durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_header(file: h5py.File, header: Header) -> list[tuple[int, np.ndarray]]:
    grid = header.grid
    for name, axis in zip(grid.names, grid.axes, strict=True):
        _dataset(file, name, (axis.num,), "<f8", None)
        file[name][...] = axis.values
        file[name].make_scale(name)
    for name, (dtype, fill) in datasets(header.names, header.columns).items():
        dataset = _dataset(file, name, grid.shape, dtype, fill)
        for dimension, axis_name in enumerate(reversed(grid.names)):
            dataset.dims[dimension].attach_scale(file[axis_name])
    _dataset(file, "sessions/table", (SESSIONS,), SESSION, None)
    later = _write_directions(file.create_group("directions"), header.directions)
    if header.trajectory is not None:
        _write_trajectory(file.create_group("trajectory"), header.trajectory)
    if header.curvature:
        file["curvature"].attrs.update(header.curvature)
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["config"] = header.config
    file.attrs["provenance"] = json.dumps(header.provenance)
    file.attrs["identity"] = json.dumps(header.identity)
    file.attrs["metrics"] = json.dumps(list(header.names))
    return later


def _write_directions(group: h5py.Group, directions: StoredDirections) -> list[tuple[int, np.ndarray]]:
    later = []
    group.attrs["recipe"] = json.dumps(directions.recipe)
    for axis, digest in directions.hashes.items():
        group.attrs[f"sha256_{axis}"] = digest
    for axis, fingerprint in directions.fingerprints.items():
        group[f"fingerprint_{axis}"] = fingerprint
    for axis, tensors in directions.tensors.items():
        for index, (tensor, name) in enumerate(zip(tensors, directions.names, strict=True)):
            dataset = _dataset(group, f"{axis}/{index}", tensor.shape, "<f4", None, written=False)
            dataset.attrs["name"] = name
            if tensor.size:
                later.append((dataset.id.get_offset(), tensor))
    return later


def _write_trajectory(group: h5py.Group, path: Trajectory) -> None:
    for name, dtype in TRAJECTORY.items():
        values = np.asarray(getattr(path, name), dtype=dtype)
        _dataset(group, name, values.shape, dtype, None)
        group[name][...] = values
    group.attrs["names"] = json.dumps(list(path.names))
    group.attrs["captured"] = path.captured


def _dataset(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, fill: Any, *, written: bool = True
) -> h5py.Dataset:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC if written else h5py.h5d.FILL_TIME_NEVER)
    if fill is not None:
        properties.set_fill_value(np.asarray(fill, dtype=dtype))
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    kind = h5py.h5t.py_create(np.dtype(dtype))
    space = h5py.h5s.create_simple(shape)
    identifier = h5py.h5d.create(group.id, None, kind, space, properties)
    h5py.h5o.link(identifier, group.id, name.encode(), lcpl=links)
    return h5py.Dataset(identifier)
