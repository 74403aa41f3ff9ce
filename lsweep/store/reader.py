"""Reading sweeps, running ones too: needs neither torch nor MPI, and trusts nothing in the file unchecked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep.errors import FileFormatError
from lsweep.grid import AXIS_NAMES
from lsweep.store.foreign import checked, open_file
from lsweep.store.schema import BOOKKEEPING, FORMAT, FORMAT_VERSION, SESSION
from lsweep.surface import Status, Surface


def read(path: str | Path) -> Surface:
    """Read a sweep's file, finished or running.

    Points whose status is not `Status.DONE` read as NaN, whatever the bytes are.

    Raises:
        FileFormatError: no such file, not an lsweep file, damaged, or of a newer format.
    """
    path = Path(path)
    with opened(path) as file:
        axes = {n: checked(file, n, kinds="f", ndim=1)[...].astype(float) for n in AXIS_NAMES if n in file}
        shape = tuple(len(axes[name]) for name in reversed(axes))
        status = checked(file, "status", kinds="u", shape=shape)[...].astype(np.uint8)
        done = status == Status.DONE
        metrics = {n: np.where(done, _values(file, n, shape), np.nan) for n in _metric_names(file, shape)}
        if "loss" not in metrics:
            raise FileFormatError(
                f"{str(path)!r} has no dataset 'loss' of shape {shape}; it is damaged", key=str(path)
            )
        return Surface(
            axes=axes,
            metrics=metrics,
            status=status,
            seconds=np.where(done, _values(file, "seconds", shape), np.nan).astype(np.float32),
            rank=np.where(done, checked(file, "rank", kinds="i", shape=shape)[...], -1).astype(np.int32),
            config=_text(file, "config"),
            provenance=_json(file, "provenance"),
            sessions=_sessions(file),
            path=path,
        )


def read_identity(path: Path) -> tuple[dict[str, Any], tuple[str, ...], np.ndarray]:
    """What a resume must know: the stored identity, the metrics' names in order, the status (flat)."""
    with opened(path) as file:
        status = checked(file, "status", kinds="u")[...].astype(np.uint8)
        return _json(file, "identity"), tuple(_json(file, "metrics", [])), status.reshape(-1)


def read_directions(path: Path) -> dict[str, Any]:
    """The stored recipe and, per axis, {"sha256", "fingerprint", "stored": whether the tensors are there}."""
    with opened(path) as file:
        group = file["directions"]
        found: dict[str, Any] = {"recipe": json.loads(group.attrs.get("recipe", "{}"))}
        for axis in AXIS_NAMES:
            if f"sha256_{axis}" in group.attrs:
                fingerprint = checked(group, f"fingerprint_{axis}", kinds="f", ndim=1)[...]
                found[axis] = {
                    "sha256": str(group.attrs[f"sha256_{axis}"]),
                    "fingerprint": fingerprint,
                    "stored": axis in group,
                }
        return found


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an lsweep file for reading, without a lock: a reader must not stop a writer.

    Raises:
        FileFormatError: see `read`.
    """
    with open_file(path) as file:
        if file.attrs.get("format") != FORMAT:
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


def _metric_names(file: h5py.File, shape: tuple[int, ...]) -> list[str]:
    reserved = {*AXIS_NAMES, *BOOKKEEPING}
    names = [n for n in file if n not in reserved and file.get(n, getclass=True) is h5py.Dataset]
    metrics = [n for n in names if file[n].shape == shape and file[n].dtype.kind == "f"]
    # "loss" and "accuracy" first, then as HDF5 lists them (by name).
    return sorted(metrics, key=lambda n: (n not in ("loss", "accuracy"), n != "loss", n))


def _values(file: h5py.File, name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(checked(file, name, kinds="f", shape=shape)[...], dtype=np.float64)


def _text(file: h5py.File, name: str) -> str:
    value = file.attrs.get(name, "")
    return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")


def _json(file: h5py.File, name: str, default: Any = None) -> Any:
    text = _text(file, name)
    try:
        return json.loads(text) if text else ({} if default is None else default)
    except ValueError:
        raise FileFormatError(f"the attribute {name!r} is not JSON; the file is damaged", key=name) from None


def _sessions(file: h5py.File) -> tuple[dict[str, Any], ...]:
    if "sessions/table" not in file:
        return ()
    table = checked(file, "sessions/table", ndim=1)[...]
    if table.dtype.names != SESSION.names:
        return ()
    rows = sorted((row for row in table if row["start"] > 0), key=lambda row: row["start"])
    return tuple(
        {
            n: row[n].decode("utf-8", "replace") if isinstance(row[n], bytes) else row[n].item()
            for n in table.dtype.names
        }
        for row in rows
    )
