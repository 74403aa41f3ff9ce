"""Recognises the format of an HDF5 file from its contents; reads plain arrays."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from lsweep.errors import FileFormatError
from lsweep.grid import AXIS_NAMES
from lsweep.store.reader import axes_of
from lsweep.store.schema import FORMAT
from lsweep.store.validation import checked, is_hard, is_there, open_file, probed, text
from lsweep.surface import Status, Surface

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_NOTES = 100
BARE = "This is a netCDF dimension but not a netCDF variable"


@probed
def kind_of(path: Path) -> str:
    """The format of an HDF5 file.

    Returns:
        "lsweep", a sweep; "released", a surface of the code released with [Li18]; "directions"; "projection", a
        projected trajectory of that code; "netcdf"; "plain", `x`, `y` and `loss` as arrays; "" for none of these.

    Raises:
        FileFormatError: the file does not exist or HDF5 cannot read it.
    """
    with open_file(path) as file:
        if h5py.h5a.exists(file.id, b"_NCProperties"):
            return "netcdf"
        if text(file, "format") == FORMAT:
            return "lsweep"
        for name, kind in (
            ("xcoordinates", "released"),
            ("proj_xcoord", "projection"),
            ("xdirection", "directions"),
        ):
            if is_there(file, name):
                return kind
        return "plain" if is_there(file, "x") and is_there(file, "loss") else ""


@probed
def read_plain(path: Path) -> Surface:
    """Read arrays `x`, [`y`, [`z`]], `loss` and others of shape (nx,), (ny, nx) or (nz, ny, nx).

    All points count as done; accuracies are fractions. Attributes that are strings or numbers go into
    `provenance["attributes"]`.

    Raises:
        FileFormatError: the file does not exist or does not hold such arrays.
    """
    with open_file(path) as file:
        axes = axes_of(file)
        shape = tuple(len(values) for values in reversed(axes.values()))
        names = ["loss", *(name for name in file if name not in (*axes, "loss") and name.isidentifier())]
        metrics = {}
        for name in names:
            try:
                metrics[name] = np.asarray(
                    checked(file, name, kinds="fiu", shape=shape)[...], dtype=np.float64
                )
            except FileFormatError:
                if name == "loss":
                    raise
        notes = {
            name: note for name in list(file.attrs)[:MOST_NOTES] if (note := _note(file, name)) is not None
        }
    metrics.setdefault("accuracy", np.full(shape, np.nan))
    return Surface(
        axes=axes,
        metrics=metrics,
        status=np.full(shape, Status.DONE, dtype=np.uint8),
        seconds=np.full(shape, np.nan, dtype=np.float32),
        rank=np.full(shape, -1, dtype=np.int32),
        provenance={"converted": {"format": "plain", "file": path.name}, "attributes": notes},
        path=path,
    )


@probed
def beside(path: Path) -> list[str]:
    """Contents of a sweep's file that a `Surface` does not hold, as text.

    Raises:
        FileFormatError: the file does not exist or HDF5 cannot read it.
    """
    with open_file(path) as file:
        tensors = any(is_there(file, f"directions/{axis}") for axis in AXIS_NAMES)
        found = ["the directions (convert it with --to directions)"] if tensors else []
        return found + (["the certificate"] if is_there(file, "certificate") else [])


@probed
def require_whole(path: Path) -> None:
    """Check that all root datasets lie in the HDF5 file itself and are safe to read, before another library reads it.

    Raises:
        FileFormatError: a dataset is not; the message names it.
    """
    with open_file(path) as file:
        for name in file:
            if not (is_hard(file, name) and _is_bare_dimension(file[name])):
                checked(file, name)


def _is_bare_dimension(item: h5py.Group | h5py.Dataset) -> bool:
    """Whether it is a netCDF dimension without coordinates, which declares a length and holds no data."""
    return item.attrs.get("CLASS") == b"DIMENSION_SCALE" and (text(item, "NAME") or "").startswith(BARE)


def _note(file: h5py.File, name: str) -> str | int | float | None:
    attribute = h5py.h5a.open(file.id, name.encode("utf-8", "surrogateescape"))
    if attribute.get_type().get_class() == h5py.h5t.STRING:
        try:
            return text(file, name)
        except FileFormatError:
            return None
    if attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR:
        return None
    value = file.attrs[name]
    if isinstance(value, np.integer):
        return int(value)
    return float(value) if isinstance(value, np.floating) and np.isfinite(value) else None
