"""Reading sweeps, running ones too: needs neither torch nor MPI, and trusts nothing in the file unchecked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from lsweep.errors import FileFormatError
from lsweep.grid import AXIS_NAMES
from lsweep.store.foreign import checked, is_hard, is_there, open_file
from lsweep.store.schema import BOOKKEEPING, COLUMNS, CURVATURE, FORMAT, FORMAT_VERSION, SESSION, datasets
from lsweep.surface import Status, Surface, curvature_metrics

J = TypeVar("J", list, dict)


def read(path: str | Path) -> Surface:
    """Read a sweep's file, finished or running.

    Points whose status is not `Status.DONE` read as NaN, whatever the bytes are.

    Raises:
        FileFormatError: no such file, not an lsweep file, damaged, or of a newer format.
    """
    path = Path(path)
    with opened(path) as file:
        axes = _axes(file)
        shape = tuple(len(axes[name]) for name in reversed(axes))
        status = checked(file, "status", kinds="u", shape=shape)[...].astype(np.uint8)
        done = status == Status.DONE
        metrics = {n: np.where(done, _values(file, n, shape), np.nan) for n in _metric_names(file, shape)}
        if "loss" not in metrics:
            raise FileFormatError(
                f"{str(path)!r} has no dataset 'loss' of shape {shape}; it is damaged", key=str(path)
            )
        columns = {
            n: checked(file, n, kinds=_kinds(n), shape=shape)[...] for n in COLUMNS if is_there(file, n)
        }
        return Surface(
            axes=axes,
            metrics={**metrics, **curvature_metrics(columns, done)},
            status=status,
            seconds=np.where(done, _values(file, "seconds", shape), np.nan).astype(np.float32),
            rank=np.where(done, checked(file, "rank", kinds="i", shape=shape)[...], -1).astype(np.int32),
            config=_text(file, "config"),
            provenance=_json(file, "provenance", dict),
            sessions=_sessions(file),
            path=path,
            columns=columns,
        )


def read_identity(path: Path) -> tuple[dict[str, Any], tuple[str, ...], np.ndarray]:
    """What a resume must know: the stored identity, the metrics' names in order, the status (flat).

    Raises:
        FileFormatError: see `read`; also where a dataset that a resume would write to is not as it should be.
    """
    with opened(path) as file:
        shape = tuple(len(values) for values in reversed(_axes(file).values()))
        names = tuple(str(name) for name in _json(file, "metrics", list))
        for name, (dtype, _) in datasets(names).items():
            if checked(file, name, shape=shape).dtype != np.dtype(dtype):
                raise FileFormatError(f"{str(path)!r}: {name!r} has type {file[name].dtype}", key=name)
        identity = _json(file, "identity", dict)
        for name in COLUMNS:
            if is_there(file, name) or (name in CURVATURE and "curvature" in identity):
                checked(file, name, kinds=_kinds(name), shape=shape)
        if checked(file, "sessions/table", ndim=1).dtype != SESSION:
            raise FileFormatError(f"{str(path)!r}: the table of sessions is damaged", key="sessions/table")
        return identity, names, file["status"][...].reshape(-1)


def read_directions(path: Path) -> dict[str, Any]:
    """The stored recipe and, per axis, {"sha256", "fingerprint", "stored": whether the tensors are there}."""
    with opened(path) as file:
        if not is_hard(file, "directions"):
            raise FileFormatError(f"{str(path)!r} has no group 'directions'; it is damaged", key=str(path))
        group = file["directions"]
        found: dict[str, Any] = {"recipe": _json(group, "recipe", dict)}
        for axis in AXIS_NAMES:
            if f"sha256_{axis}" in group.attrs:
                fingerprint = checked(group, f"fingerprint_{axis}", kinds="f", ndim=1)[...]
                found[axis] = {
                    "sha256": _text(group, f"sha256_{axis}"),
                    "fingerprint": fingerprint,
                    "stored": is_hard(group, axis),
                }
        return found


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an lsweep file for reading, without a lock: a reader must not stop a writer.

    Raises:
        FileFormatError: see `read`.
    """
    with open_file(path) as file:
        if "format" not in file.attrs or _text(file, "format") != FORMAT:
            raise FileFormatError(
                f"{str(path)!r} is an HDF5 file, but not one that lsweep wrote", key=str(path)
            )
        version = file.attrs.get("format_version")
        if not isinstance(version, (int, np.integer)) or version < 1:
            raise FileFormatError(f"{str(path)!r} has no valid format_version: {version!r}", key=str(path))
        if version > FORMAT_VERSION:
            raise FileFormatError(
                f"{str(path)!r} has format version {version}, this lsweep reads up to {FORMAT_VERSION}; update lsweep",
                key=str(path),
            )
        yield file


def _axes(file: h5py.File) -> dict[str, np.ndarray]:
    names = [name for name in AXIS_NAMES if is_there(file, name)]
    if not names or names != list(AXIS_NAMES[: len(names)]):
        raise FileFormatError(
            f"{file.filename!r} has the axes {', '.join(names) or 'none'}, expected x, then y, then z",
            key="x",
        )
    return {name: checked(file, name, kinds="f", ndim=1)[...].astype(float) for name in names}


def _metric_names(file: h5py.File, shape: tuple[int, ...]) -> list[str]:
    reserved = {*AXIS_NAMES, *BOOKKEEPING}
    names = [n for n in file if n not in reserved and is_hard(file, n)]
    found = [n for n in names if isinstance(file[n], h5py.Dataset)]
    metrics = [n for n in found if file[n].shape == shape and file[n].dtype.kind == "f"]
    recorded = [str(name) for name in _json(file, "metrics", list)]
    return [*(n for n in recorded if n in metrics), *(n for n in metrics if n not in recorded)]


def _kinds(column: str) -> str:
    return "f" if column in CURVATURE and column != "curvature/products" else "iu"


def _values(file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(checked(file, name, kinds="f", shape=shape)[...], dtype=np.float64)


def _text(place: h5py.Group, name: str) -> str:
    value = place.attrs.get(name, "")
    if isinstance(value, (str, bytes)):
        return value if isinstance(value, str) else value.decode("utf-8", "replace")
    raise FileFormatError(f"{place.file.filename!r}: the attribute {name!r} is no text", key=name)


def _json(place: h5py.Group, name: str, kind: type[J]) -> J:
    text = _text(place, name)
    try:
        value = json.loads(text) if text else kind()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise FileFormatError(
            f"{place.file.filename!r}: the attribute {name!r} is not JSON as expected; the file is damaged",
            key=name,
        )
    return value


def _sessions(file: h5py.File) -> tuple[dict[str, Any], ...]:
    if not is_there(file, "sessions/table"):
        return ()
    table = checked(file, "sessions/table", ndim=1)
    if table.dtype != SESSION:
        return ()
    rows = sorted((row for row in table[...] if row["start"] > 0), key=lambda row: row["start"])
    return tuple(
        {
            n: row[n].decode("utf-8", "replace") if isinstance(row[n], bytes) else row[n].item()
            for n in SESSION.names or ()
        }
        for row in rows
    )
