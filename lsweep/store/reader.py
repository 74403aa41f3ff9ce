"""Reads finished and running sweeps without torch or MPI, and checks everything in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep.errors import FileFormatError
from lsweep.grid import AXIS_NAMES
from lsweep.store import certificate, probe, schema
from lsweep.store.validation import (
    checked,
    integer,
    is_hard,
    is_there,
    json_value,
    open_file,
    probed,
    require_file,
    text,
)
from lsweep.surface import Status, Surface, Trajectory, curvature_metrics

_YEAR_9999 = 253402300800.0  # Unix time at the end of the range that `time.localtime` always supports


def read(path: str | Path, *, trusted: bool = False) -> Surface:
    """Read a sweep's file, finished or running.

    Points whose status is not `Status.DONE` read as NaN, whatever the file contains.

    Args:
        path: the file.
        trusted: read directly. Otherwise a child process reads the file first, once per file and process, so that a
            file that crashes the HDF5 library causes an error and does not kill this process (`lsweep.store.probe`).

    Raises:
        FileFormatError: the file does not exist, is not an lsweep file, is damaged, or has a newer format.
    """
    path = Path(path)
    if not trusted:
        look_first(path, read)
    with opened(path) as file:
        axes = axes_of(file)
        shape = tuple(len(axes[name]) for name in reversed(axes))
        status = checked(file, "status", kinds="u", shape=shape)[...].astype(np.uint8)
        done = status == Status.DONE
        columns = {
            n: checked(file, n, kinds=_kinds(n), shape=shape)[...]
            for n in schema.COLUMNS
            if is_there(file, n)
        }
        return Surface(
            axes=axes,
            metrics={**_metrics(file, shape, done), **curvature_metrics(columns, done)},
            status=status,
            seconds=np.where(done, _values(file, "seconds", shape), np.nan).astype(np.float32),
            rank=np.where(done, checked(file, "rank", kinds="i", shape=shape)[...], -1).astype(np.int32),
            config=text(file, "config") or "",
            provenance=json_value(file, "provenance", dict),
            sessions=_sessions(file),
            path=path,
            columns=columns,
            trajectory=_trajectory(file, len(axes)),
            certificate=certificate.read(file, status.size),
            identity=json_value(file, "identity", dict),
            recipe=json_value(file["directions"], "recipe", dict) if is_hard(file, "directions") else {},
        )


def look_first(path: Path, *calls: Callable[..., object]) -> None:
    """Let a child process call these functions of this module first; see `lsweep.store.probe.require`.

    Raises:
        FileFormatError: a function raised an error, or the file crashes HDF5 or keeps it busy for ever.
    """
    require_file(path)
    probe.require(path, *calls)


@probed
def read_identity(path: Path) -> tuple[dict[str, Any], tuple[str, ...], np.ndarray]:
    """Read what a resume needs: the stored identity, the names of the metrics in order, and the status (flat).

    Raises:
        FileFormatError: see `read`; also if a dataset that a resume would write to is invalid.
    """
    with opened(path) as file:
        shape = tuple(len(values) for values in reversed(axes_of(file).values()))
        names = _recorded(file)
        for name, (dtype, _) in schema.datasets(names).items():
            checked(file, name, dtype=np.dtype(dtype), shape=shape)
        identity = json_value(file, "identity", dict)
        for name in schema.COLUMNS:
            if is_there(file, name) or (name in schema.CURVATURE and "curvature" in identity):
                checked(file, name, kinds=_kinds(name), shape=shape)
        checked(file, "sessions/table", dtype=schema.SESSION, shape=(schema.SESSIONS,))
        return identity, names, file["status"][...].reshape(-1)


@probed
def read_directions(path: Path) -> dict[str, Any]:
    """Read the stored recipe and, per axis, {"sha256", "fingerprint", "stored": whether the tensors are stored}.

    Raises:
        FileFormatError: see `read`.
    """
    with opened(path) as file:
        if not is_hard(file, "directions"):
            raise FileFormatError(f"{str(path)!r} has no group 'directions'; it is damaged", key=str(path))
        group = file["directions"]
        found: dict[str, Any] = {"recipe": json_value(group, "recipe", dict)}
        for axis in AXIS_NAMES:
            digest = text(group, f"sha256_{axis}")
            if digest is not None:
                found[axis] = {
                    "sha256": digest,
                    "fingerprint": checked(group, f"fingerprint_{axis}", kinds="f", ndim=1)[...],
                    "stored": is_hard(group, axis),
                }
        return found


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an lsweep file for reading, without a lock, because a reader must not block a writer.

    Raises:
        FileFormatError: see `read`.
    """
    with open_file(path) as file:
        if text(file, "format") != schema.FORMAT:
            raise FileFormatError(
                f"{str(path)!r} is an HDF5 file, but not one that lsweep wrote", key=str(path)
            )
        version = integer(file, "format_version")
        if version is None or version < 1:
            raise FileFormatError(f"{str(path)!r} has no valid format_version", key=str(path))
        if version > schema.FORMAT_VERSION:
            raise FileFormatError(
                f"{str(path)!r} has format version {version}, this lsweep reads up to {schema.FORMAT_VERSION}; "
                "update lsweep",
                key=str(path),
            )
        yield file


def axes_of(file: h5py.File) -> dict[str, np.ndarray]:
    """Read and check the axes, x first. Raises FileFormatError."""
    names = [name for name in AXIS_NAMES if is_there(file, name)]
    if not names or names != list(AXIS_NAMES[: len(names)]):
        raise FileFormatError(
            f"{file.filename!r} has the axes {', '.join(names) or 'none'}; expected x, x and y, or x, y and z",
            key="x",
        )
    axes = {name: checked(file, name, kinds="f", ndim=1)[...].astype(float) for name in names}
    for name, values in axes.items():
        if not len(values) or not np.isfinite(values).all() or not (np.diff(values) > 0).all():
            raise FileFormatError(
                f"{file.filename!r}: the axis {name!r} must be finite and increasing; the file is damaged",
                key=name,
            )
    return axes


def _recorded(file: h5py.File) -> tuple[str, ...]:
    """The metrics of the sweep, in order."""
    names = tuple(str(name) for name in json_value(file, "metrics", list))
    if any(name in schema.RESERVED or not name.isidentifier() for name in names):
        raise FileFormatError(
            f"{file.filename!r} has metrics with invalid names: {names}; the file is damaged", key="metrics"
        )
    return names


def _metrics(file: h5py.File, shape: tuple[int, ...], done: np.ndarray) -> dict[str, np.ndarray]:
    """The recorded metrics, then other datasets that look like metrics; further objects in the file are ignored."""
    required = dict.fromkeys([*_recorded(file), "loss"])
    others = [n for n in file if n.isidentifier() and n not in (*required, *schema.RESERVED)]
    names = [*required, *(n for n in others if _is_metric(file, n, shape))]
    return {n: np.where(done, _values(file, n, shape), np.nan) for n in names}


def _is_metric(file: h5py.File, name: str, shape: tuple[int, ...]) -> bool:
    try:
        checked(file, name, kinds="f", shape=shape)
    except FileFormatError:
        return False
    return True


def _kinds(column: str) -> str:
    return "f" if column in schema.CURVATURE and column != "curvature/products" else "iu"


def _values(file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(checked(file, name, kinds="f", shape=shape)[...], dtype=np.float64)


def _trajectory(file: h5py.File, ndim: int) -> Trajectory | None:
    if not is_hard(file, "trajectory") or "coordinates" not in file["trajectory"]:
        return None
    group = file["trajectory"]
    count = checked(group, "coordinates", kinds="f", ndim=2).shape[0]
    per_axis = {"coordinates": (count, ndim), "shares": (ndim,), "explained": (ndim,)}
    read = {
        name: checked(group, name, kinds=np.dtype(dtype).kind, shape=per_axis.get(name, (count,)))[...]
        for name, dtype in schema.TRAJECTORY.items()
    }
    names = tuple(str(name) for name in json_value(group, "names", list))
    captured = group.attrs.get("captured")
    known = isinstance(captured, (float, np.floating))
    found = Trajectory(**read, names=names, captured=float(captured) if known else np.nan)
    if not known or not found.whole:
        raise FileFormatError(f"{file.filename!r}: the group 'trajectory' is damaged", key="trajectory")
    return found


def _sessions(file: h5py.File) -> tuple[dict[str, Any], ...]:
    """The sessions that worked on the file. Invalid rows, left by a crash during a write, are omitted."""
    if not is_there(file, "sessions/table"):
        return ()
    dataset = checked(file, "sessions/table", kinds="V", ndim=1)
    if dataset.dtype != schema.SESSION:
        return ()
    table = dataset[...]
    told = (table["start"] > 0) & (table["start"] < _YEAR_9999) & (np.abs(table["stop"]) < _YEAR_9999)
    return tuple(
        {
            n: row[n].decode("utf-8", "replace") if isinstance(row[n], bytes) else row[n].item()
            for n in schema.SESSION.names or ()
        }
        for row in np.sort(table[told], order="start", kind="stable")
    )
