"""The supported formats, their recognition, and conversion between them."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lsweep.convert import netcdf, rows
from lsweep.errors import FileFormatError, InputError, nearest
from lsweep.surface import Surface
from lsweep.tools.files import write_bytes

log = logging.getLogger("lsweep")

SURFACES = ("lsweep", "released", "plain", "csv", "netcdf")
SOURCES = (*SURFACES, "directions")
TARGETS = ("lsweep", "released", "csv", "netcdf", "directions", "projection")
SUFFIXES = {".csv": "csv", ".nc": "netcdf", ".nc4": "netcdf", ".h5": "hdf5", ".hdf5": "hdf5", ".hdf": "hdf5"}


def convert(
    source: str | Path,
    target: str | Path,
    *,
    source_format: str | None = None,
    target_format: str | None = None,
    directions: str | Path | None = None,
    projection: str | Path | None = None,
    order: str = "yx",
    force: bool = False,
) -> Path:
    """Convert a file; a warning lists what the target format cannot store.

    Args:
        source: a sweep, a surface or directions of the released code of [Li18], CSV, netCDF, or plain HDF5 arrays.
        target: the file to write; it is written atomically.
        source_format: one of `SOURCES`; None recognises the format from the contents.
        target_format: one of `TARGETS`; None chooses by the suffix. For HDF5 it is "released" if the source is a sweep
            of lsweep, else "lsweep".
        directions: the released code's direction file, to be included in a file of lsweep.
        projection: the released code's projected trajectory, to be included in a file of lsweep.
        order: memory order of a released surface; see `lsweep.convert.released.read_surface`.
        force: replace the target if it exists.

    Returns:
        The target.

    Raises:
        InputError: a file is invalid, the target exists, or the conversion is not supported.
    """
    from lsweep.convert import recognise as looking

    source, target = Path(source), Path(target)
    kind = _checked(source_format, SOURCES, "from") or recognise(source)
    _require_free(source, target, force)
    wanted = _checked(target_format, TARGETS, "to") or _by_suffix(target, kind)
    if (directions or projection) and wanted != "lsweep":
        raise InputError(
            f"--directions and --trajectory need the target format 'lsweep', got {wanted!r}", key="to"
        )
    if wanted == "directions":
        _directions(source, target, kind)
    elif kind == "directions":
        raise InputError(
            f"{source.name} holds directions, not a surface; set directions.path of a configuration to it, or pass it "
            "with --directions when converting the surface",
            key="from",
        )
    elif kind == wanted == "lsweep":
        raise InputError(f"{source.name} is already a file of lsweep; copy it instead", key="to")
    else:
        surface = load(source, kind, order=order)
        lost = _write(surface, target, wanted, directions, projection)
        if kind == "lsweep" and wanted != "projection":
            lost += [f"cannot store {what}" for what in looking.beside(source)]
        for phrase in lost:
            log.warning("%s: %s", target.name, phrase)
    return target


def load(path: str | Path, source_format: str | None = None, *, order: str = "yx") -> Surface:
    """Read a surface in any supported format; see `convert`.

    Raises:
        FileFormatError: the file is invalid.
    """
    from lsweep.convert import recognise as looking
    from lsweep.convert import released
    from lsweep.store import reader, validation

    path = Path(path)
    validation.require_file(path)
    kind = source_format or recognise(path)
    readers: dict[str, Callable[[Path], Surface]] = {
        "lsweep": reader.read,
        "released": lambda path: released.read_surface(path, order=order),
        "plain": looking.read_plain,
        "csv": rows.read,
        "netcdf": netcdf.read,
    }
    if kind not in readers:
        raise FileFormatError(f"expected a surface, {path.name} holds {kind}", key="from")
    return readers[kind](path)


def recognise(path: Path) -> str:
    """The format of a file, recognised from its first bytes and contents. Raises FileFormatError."""
    from lsweep.convert import recognise as looking
    from lsweep.store.validation import require_file

    require_file(path)
    with path.open("rb") as file:
        start = file.read(8)
    if start == looking.SIGNATURE:
        kind = looking.kind_of(path)
        if not kind:
            raise FileFormatError(
                f"{path.name} is HDF5, but not a file of lsweep or of the released code, and has no arrays x, y and "
                "loss",
                key="from",
            )
        return kind
    if start[:3] == b"CDF":
        raise FileFormatError(
            f"{path.name} is netCDF-3, but only netCDF-4 can be read; convert it with nccopy -k nc4",
            key="from",
        )
    if b"\0" in start or not start:
        raise FileFormatError(f"{path.name} is neither HDF5 nor text", key="from")
    return "csv"


def _checked(given: str | None, valid: tuple[str, ...], key: str) -> str | None:
    if given is not None and given not in valid:
        raise InputError(f"--{key}: unknown format {given!r}{nearest(given, valid)}", key=key)
    return given


def _by_suffix(target: Path, kind: str) -> str:
    found = SUFFIXES.get(target.suffix.lower())
    if found == "hdf5":
        return {"lsweep": "released", "directions": "directions"}.get(kind, "lsweep")
    if found is None:
        raise InputError(
            f"unknown suffix of {target.name!r}; use .h5, .csv or .nc, or --to {'|'.join(TARGETS)}", key="to"
        )
    return found


def _require_free(source: Path, target: Path, force: bool) -> None:
    if not os.path.lexists(target):
        return
    if target.is_dir():
        raise InputError(f"{str(target)!r} is a folder; name a file", key="output")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{str(target)!r} is the source itself; name another file", key="output")
    if not force:
        raise InputError(f"{str(target)!r} exists; use --force to replace it", key="output")


def _directions(source: Path, target: Path, kind: str) -> None:
    from lsweep.convert import released_paths
    from lsweep.store import reader, validation

    tensors = validation.read_direction_file(source)
    explained = None
    if kind == "lsweep":
        path = reader.read(source).trajectory
        shares = path.explained if path is not None else np.array([np.nan])
        explained = None if np.isnan(shares).any() else shares
    else:
        explained = released_paths.read_explained(source)
    released_paths.write_directions(tensors, target, explained)


def _write(
    surface: Surface, target: Path, wanted: str, directions: str | Path | None, projection: str | Path | None
) -> list[str]:
    """Write the target and return phrases on what it cannot store."""
    from lsweep.convert import released, released_paths, surface_file

    lost: list[str] = []
    if wanted == "projection":
        if surface.trajectory is None:
            raise InputError("the file has no trajectory to project; sweep with directions.trail", key="to")
        lost = released_paths.write_projection(surface.trajectory, target)
    elif wanted == "released":
        lost = released.write_surface(surface, target)
    elif wanted == "csv":
        lost = _aside(surface)
        write_bytes(target, rows.encode(surface))
    elif wanted == "netcdf":
        write_bytes(target, netcdf.encode(surface))
    else:
        surface, tensors = _with_companions(surface, directions, projection)
        surface_file.write(surface, target, tensors)
    return lost


def _with_companions(
    surface: Surface, directions: str | Path | None, projection: str | Path | None
) -> tuple[Surface, dict[str, list[np.ndarray]]]:
    """The surface with the trajectory, and the direction tensors, from the released code's other two files."""
    from lsweep.convert import released_paths
    from lsweep.store import validation

    tensors = {}
    explained = None
    if directions is not None:
        tensors = validation.read_direction_file(directions)
        if len(tensors) < surface.ndim:
            raise InputError(
                f"expected one direction for each of the {surface.ndim} axes, {str(directions)!r} has {len(tensors)}",
                key="directions",
            )
        explained = released_paths.read_explained(directions)
        recipe = {"kind": "file", "path": str(directions)}
        surface = dataclasses.replace(surface, recipe={axis: recipe for axis in surface.axes})
    if projection is not None:
        path = released_paths.read_projection(projection)
        if surface.ndim != 2:
            raise InputError(
                f"a projected trajectory needs a plane, the surface has {surface.ndim} axes", key="trajectory"
            )
        if explained is not None and len(explained) >= 2:
            path = dataclasses.replace(path, explained=explained[:2])
        surface = dataclasses.replace(surface, trajectory=path)
    return surface, tensors


def _aside(surface: Surface) -> list[str]:
    """Phrases on what a table of points cannot store."""
    there = {
        "configuration": surface.config,
        "provenance": surface.provenance,
        "sessions": surface.sessions,
        "trajectory": surface.trajectory is not None,
    }
    names = [name for name, value in there.items() if value]
    return [f"cannot store {', '.join(names)}"] if names else []
