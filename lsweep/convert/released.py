"""Surface files of the code released with [Li18].

A surface has the datasets `xcoordinates`, `ycoordinates` (absent for a line), `train_loss`, `train_acc`, `test_loss`,
`test_acc`, `min_eig`, `max_eig`, and the string `dir_file`. Accuracies are in per cent; −1 marks values that are not
computed yet (+1 for `min_eig`).

The code declares a plane's values with shape (len(x), len(y)) but fills them with x fastest, as if the shape were
(len(y), len(x)). Only the flat order determines which value belongs to which point: a non-square plane is correct
neither as declared nor transposed. The shape (len(y), len(x)), which other programs write, has the same flat order.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep.errors import FileFormatError, InputError
from lsweep.store import probe
from lsweep.store.validation import checked, is_there, open_file, require_file
from lsweep.surface import SPLITS, Status, Surface, curvature_metrics
from lsweep.tools.files import write_bytes

log = logging.getLogger("lsweep")

PENDING = -1.0
EIGENVALUES = {"eig_min": ("min_eig", 1.0), "eig_max": ("max_eig", PENDING)}
MOST_NAME = 1 << 16  # bytes of `dir_file`
ORDERS = ("yx", "xy")


def read_surface(path: str | Path, *, order: str = "yx", trusted: bool = False) -> Surface:
    """Read a surface of the released code.

    A point is pending if a value of any split with computed values is still −1. A split without any computed value is
    left out. "loss" and "accuracy" are those of the train split if it exists.

    Args:
        path: the file.
        order: "yx": x is fastest, as in the released code, regardless of the declared shape; "xy": values[i, j]
            belongs to (x[i], y[j]), as in files of programs that take the shape (len(x), len(y)) literally.
        trusted: skip the trial read in a child process (see `lsweep.store.probe`).

    Raises:
        FileFormatError: the file does not exist or is invalid.
    """
    path = Path(path)
    if not trusted:
        require_file(path)
        probe.require(path, read_surface)
    with open_file(path) as file:
        axes, flips = _axes(file)
        grid = _Grid(tuple(len(values) for values in reversed(axes.values())), order, flips)
        found = {
            split: pair for split in SPLITS if (pair := _split(file, split, grid)) is not None
        }  # the train split first
        eigenvalues = _eigenvalues(file, grid)
        if not found:
            raise FileFormatError(
                f"{str(path)!r} has xcoordinates, but no computed values in train_loss or test_loss",
                key="train_loss",
            )
        return _surface(path, axes, grid.shape, found, eigenvalues, _dir_file(file))


class _Grid:
    """Converts a dataset to an array of shape (ny, nx) over increasing axes."""

    def __init__(self, shape: tuple[int, ...], order: str, flips: tuple[int, ...]) -> None:
        if order not in ORDERS:
            raise InputError(f"the order must be 'yx' or 'xy', got {order!r}", key="order")
        self.shape, self._order, self._flips = shape, order, flips

    def read(self, file: h5py.File, name: str) -> np.ndarray:
        values = np.asarray(checked(file, name, kinds="fiu", ndim=len(self.shape))[...], dtype=np.float64)
        allowed = {self.shape, self.shape[::-1]} if self._order == "yx" else {self.shape[::-1]}
        if values.shape not in allowed:
            raise FileFormatError(
                f"{Path(file.filename).name}: {name!r} has shape {values.shape}, expected "
                f"{' or '.join(str(shape) for shape in sorted(allowed))}",
                key=name,
            )
        values = values.reshape(self.shape) if self._order == "yx" else values.T
        return np.ascontiguousarray(np.flip(values, self._flips))


def _axes(file: h5py.File) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """The coordinates in increasing order, and the axes along which the values must be flipped accordingly."""
    names = ["x", "y"] if is_there(file, "ycoordinates") else ["x"]
    axes, flips = {}, []
    for name in names:
        values = np.asarray(checked(file, f"{name}coordinates", kinds="fiu", ndim=1)[...], dtype=np.float64)
        if len(values) > 1 and values[0] > values[-1]:
            values = values[::-1].copy()
            flips.append(len(names) - 1 - names.index(name))
        if not len(values) or not np.isfinite(values).all() or not (np.diff(values) > 0).all():
            raise FileFormatError(
                f"{Path(file.filename).name}: {name}coordinates must be finite and monotonic",
                key=f"{name}coordinates",
            )
        axes[name] = values
    return axes, tuple(flips)


@dataclass(frozen=True)
class _Split:
    """Loss and accuracy (a fraction) of a split, and a mask of the computed points."""

    loss: np.ndarray
    accuracy: np.ndarray
    done: np.ndarray


def _split(file: h5py.File, split: str, grid: _Grid) -> _Split | None:
    """The values of a split; None if no point of it is computed."""
    if not is_there(file, f"{split}_loss"):
        return None
    loss = grid.read(file, f"{split}_loss")
    done, accuracy = loss != PENDING, np.full(grid.shape, np.nan)
    if is_there(file, f"{split}_acc"):
        percent = grid.read(file, f"{split}_acc")
        done |= percent != PENDING
        accuracy = np.where(percent == PENDING, np.nan, percent / 100)
    return _Split(loss, accuracy, done) if done.any() else None


def _eigenvalues(file: h5py.File, grid: _Grid) -> dict[str, np.ndarray]:
    """The extreme eigenvalues of the Hessian; empty if there are none."""
    if not all(is_there(file, name) for name, _ in EIGENVALUES.values()):
        return {}
    found = {name: grid.read(file, theirs) for name, (theirs, _) in EIGENVALUES.items()}
    pending = np.logical_and(*(found[name] == nothing for name, (_, nothing) in EIGENVALUES.items()))
    return {} if pending.all() else {name: np.where(pending, np.nan, v) for name, v in found.items()}


def _surface(
    path: Path,
    axes: Mapping[str, np.ndarray],
    shape: tuple[int, ...],
    found: Mapping[str, _Split],
    eigenvalues: Mapping[str, np.ndarray],
    dir_file: str,
) -> Surface:
    done = np.logical_and.reduce([split.done for split in found.values()])
    metrics = {}
    for index, (name, split) in enumerate(found.items()):
        end = f"_{name}" if index else ""
        metrics[f"loss{end}"] = np.where(done, split.loss, np.nan)
        metrics[f"accuracy{end}"] = np.where(done, split.accuracy, np.nan)
    _say_what_is_halfway(path, found, eigenvalues, done)
    columns = {f"curvature/{name}": values for name, values in eigenvalues.items()}
    splits = ", ".join(f'"{name}"' for name in found)
    converted = {"format": "released", "file": path.name} | ({"dir_file": dir_file} if dir_file else {})
    return Surface(
        axes=axes,
        metrics=metrics | curvature_metrics(columns, done),
        status=np.where(done, Status.DONE, Status.PENDING).astype(np.uint8),
        seconds=np.full(shape, np.nan, dtype=np.float32),
        rank=np.full(shape, -1, dtype=np.int32),
        config=f"[data]\nsplit = [{splits}]\n",
        provenance={"converted": converted},
        path=path,
        columns=columns,
    )


def _say_what_is_halfway(
    path: Path, found: Mapping[str, _Split], eigenvalues: Mapping[str, np.ndarray], done: np.ndarray
) -> None:
    begun = np.logical_or.reduce([split.done for split in found.values()])
    if (begun & ~done).any():
        log.warning(
            "%s: %d points have values of only one split; they count as pending, and their values are left out",
            path.name,
            (begun & ~done).sum(),
        )
    if eigenvalues and (missing := int((done & np.isnan(eigenvalues["eig_max"])).sum())):
        log.warning("%s: %d points have a loss but no eigenvalues; these are set to NaN", path.name, missing)


def _dir_file(file: h5py.File) -> str:
    """The name of the direction file; "" if it is absent or unreadable."""
    if not is_there(file, "dir_file"):
        return ""
    dataset = checked(file, "dir_file")
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.shape != ():
        return ""
    return str(dataset.asstr(errors="replace")[()])[:MOST_NAME]


def write_surface(surface: Surface, path: Path) -> list[str]:
    """Write a surface in the format of the released code; see the module for the shape of a plane.

    Args:
        surface: a line or a plane.
        path: the file to write; it is written atomically.

    Returns:
        Phrases on what the file cannot store.

    Raises:
        InputError: the surface is a box, or the file cannot be written.
    """
    if surface.ndim > 2:
        raise InputError(
            "the released code supports only lines and planes, got a box of three axes", key="to"
        )
    arrays, lost = _arrays(surface)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        dir_file = _known_dir_file(surface)
        if dir_file:
            file["dir_file"] = dir_file
        for name, values in surface.axes.items():
            file[f"{name}coordinates"] = values
        for name, values in arrays.items():
            file[name] = values.reshape(surface.shape[::-1])
    write_bytes(path, content.getvalue())
    if surface.ndim == 2 and len(set(surface.shape)) > 1:
        lost.append(
            "a plane that is not square has the shape (len(x), len(y)) with x fastest, as the released code writes it; "
            "its contour plots reject such a file"
        )
    return lost


def _arrays(surface: Surface) -> tuple[dict[str, np.ndarray], list[str]]:
    """Dataset name → values of the surface's shape; and phrases on what is left out."""
    known = surface.done | surface.settled
    arrays: dict[str, np.ndarray] = {}
    held = {"eig_ratio"}
    for index, split in enumerate(surface.splits):
        end = f"_{split}" if index else ""
        for metric, theirs, factor in ((f"loss{end}", "loss", 1.0), (f"accuracy{end}", "acc", 100.0)):
            if metric in surface.metrics:
                arrays[f"{split}_{theirs}"] = np.where(known, surface.filled(metric) * factor, PENDING)
                held.add(metric)
    for metric, (theirs, nothing) in EIGENVALUES.items():
        if metric in surface.metrics:
            arrays[theirs] = np.where(surface.done, surface.metrics[metric], nothing)
            held.add(metric)
    return arrays, _lost(surface, held)


def _lost(surface: Surface, held: set[str]) -> list[str]:
    failed, settled = surface.count(Status.FAILED), surface.count(Status.SETTLED)
    lost = [f"{failed} failed points are written as not computed"] if failed else []
    if settled:
        lost.append(f"{settled} settled points are written with their interpolated values")
    left = sorted(set(surface.metrics) - held)
    lost += [f"cannot store {', '.join(left)}"] if left else []
    aside = {
        "the configuration": "[model]" in surface.config,
        "provenance": bool(set(surface.provenance) - {"converted"}),
        "seconds and ranks": bool((surface.rank >= 0).any()),
        "the trajectory (convert it with --to projection)": surface.trajectory is not None,
    }
    absent = [name for name, there in aside.items() if there]
    return lost + ([f"cannot store {', '.join(absent)}"] if absent else [])


def _known_dir_file(surface: Surface) -> str:
    converted = surface.provenance.get("converted")
    name: Any = converted.get("dir_file") if isinstance(converted, Mapping) else None
    return name if isinstance(name, str) and "\0" not in name else ""
