"""Writes a complete surface from any source to a file in lsweep's format."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep.grid import AXIS_NAMES, Axis, Grid
from lsweep.store import schema
from lsweep.store.schema import CURVATURE, Header, StoredDirections
from lsweep.surface import DERIVED, Column, Surface
from lsweep.tools.files import write_bytes


def write(surface: Surface, path: Path, directions: Mapping[str, Sequence[np.ndarray]] | None = None) -> None:
    """Write a surface as a sweep's file, atomically.

    Args:
        surface: the surface. Its coordinates are stored unchanged, even if they are not equally spaced.
        path: the file to write.
        directions: axis → tensors in parameter order, stored as float32.

    Raises:
        InputError: a metric has an invalid name, or the file cannot be written.
    """
    header = _header(surface, directions or {})
    schema.check_names(header.names)
    image, later = schema.image(header)
    content = io.BytesIO(image)
    for offset, tensor in later:
        content.seek(offset)
        content.write(tensor.tobytes())
    with h5py.File(content, "r+", libver=schema.LIBVER) as file:
        for name, values in surface.axes.items():
            file[name][...] = values
        for name in header.names:
            file[name][...] = surface.metrics[name]
        for name, values in surface.columns.items():
            file[name][...] = values
        for name in schema.BOOKKEEPING:
            file[name][...] = getattr(surface, name)
        _write_sessions(file["sessions/table"], surface.sessions)
    write_bytes(path, content.getvalue())


def _header(surface: Surface, directions: Mapping[str, Sequence[np.ndarray]]) -> Header:
    axes = {name: Axis(float(v[0]), float(v[-1]), len(v)) for name, v in surface.axes.items()}
    count = max((len(tensors) for tensors in directions.values()), default=0)
    return Header(
        grid=Grid(axes["x"], axes.get("y"), axes.get("z")),
        names=tuple(name for name in surface.metrics if name not in DERIVED),
        identity=surface.identity,
        config=surface.config,
        provenance=surface.provenance,
        directions=StoredDirections(
            recipe=surface.recipe,
            tensors={axis: directions[axis] for axis in AXIS_NAMES if axis in directions},
            names=[str(index) for index in range(count)],
        ),
        columns={name: _column(name) for name in surface.columns},
        trajectory=surface.trajectory,
    )


def _column(name: str) -> Column:
    """The dtype and fill value with which the evaluators declare a column."""
    if name in CURVATURE and name != "curvature/products":
        return "<f8", np.nan
    return ("u1" if name == "precision" else "<i4"), 0


def _write_sessions(table: h5py.Dataset, sessions: Sequence[Mapping[str, Any]]) -> None:
    rows = np.zeros(schema.SESSIONS, dtype=schema.SESSION)
    for row, session in zip(rows, sessions[-schema.SESSIONS :], strict=False):
        for name in schema.SESSION.names or ():
            value = session.get(name, 0 if schema.SESSION[name].kind != "S" else "")
            row[name] = value.encode() if isinstance(value, str) else value
    table[...] = rows
