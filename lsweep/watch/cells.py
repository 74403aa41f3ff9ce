"""Raster of a sweep for the terminal: the value or status that each character cell shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from lsweep.errors import InputError
from lsweep.render.field import Field, extract, wide_axes
from lsweep.render.look import Look
from lsweep.render.scale import Scale, choose
from lsweep.surface import Status, Surface


class Kind(IntEnum):
    """What a cell shows."""

    NOTHING = 0
    VALUE = 1
    NAN = 2
    FAILED = 3


@dataclass(frozen=True)
class Cells:
    """A raster with the first row at the top.

    Attributes:
        units: (rows, columns) float64, positions on the scale in [0, 1]; NaN where the kind is not VALUE.
        kinds: (rows, columns) uint8, see `Kind`.
        scale: maps values to units.
        words: description of the axes.
    """

    units: np.ndarray
    kinds: np.ndarray
    scale: Scale
    words: str


def raster(surface: Surface, look: Look, columns: int, rows: int, squat: float = 1.0) -> Cells:
    """A plane (or the middle slice of a box) as a heat map, a line as a curve.

    Points are evaluated from coarse to fine; a pending point shows the value of a coarser point that is done.

    Args:
        surface: the surface to show.
        look: metric and scale.
        columns, rows: maximum numbers of cells.
        squat: aspect ratio of a cell, width by height.

    Raises:
        InputError: the surface cannot be shown with these options.
    """
    if columns < 1 or rows < 1:
        raise InputError("the terminal is too small for a picture", key="text")
    dims = min(wide_axes(surface), 2)
    field = extract(surface, look.metric, dims, look.index)
    scale = choose([field], look)
    units = np.asarray(scale.norm()(scale.drawn(field.values)), dtype=np.float64)
    units[np.isnan(field.values)] = np.nan
    kinds = np.where(field.nan, Kind.NAN, np.where(np.isnan(units), Kind.NOTHING, Kind.VALUE))
    kinds = np.where(field.status == Status.FAILED, Kind.FAILED, kinds).astype(np.uint8)
    units, kinds = _previewed(field, units, kinds)
    words = "   ".join(
        f"{name} {axis[0]:g} to {axis[-1]:g}{way}"
        for name, axis, way in zip(field.names, field.axes, (" (right)", " (up)"), strict=False)
    )
    if dims == 1:
        return Cells(*_curve(units, kinds, columns, rows), scale, words)
    wide, high = _size(field, columns, rows, squat)
    where = np.ix_(_samples(len(field.axes[1]), high)[::-1], _samples(len(field.axes[0]), wide))
    return Cells(units[where], kinds[where], scale, words)


def _previewed(field: Field, units: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill pending points with the nearest point below on the finest lattice that has a value there."""
    pending = field.status == Status.PENDING
    shown, found = units, kinds
    stride = field.stride()
    while stride > 1:
        before = np.ix_(*(np.arange(n) // stride * stride for n in units.shape))
        known = pending & (kinds[before] == Kind.VALUE)
        shown = np.where(known, units[before], shown)
        found = np.where(known, Kind.VALUE, found).astype(np.uint8)
        stride //= 2
    return shown, found


def _size(field: Field, columns: int, rows: int, squat: float) -> tuple[int, int]:
    """Numbers of cells: equal units along both axes unless a side gets too short; whole cells per point if possible."""
    (x, y), (nx, ny) = field.axes, map(len, field.axes)
    ratio = (y[-1] - y[0]) / (x[-1] - x[0])
    wide, high = float(columns), float(rows)
    if 1 / 3 <= ratio <= 3:
        wide, high = min(wide, high / ratio / squat), min(high, wide * ratio * squat)
    return _whole(wide, nx, columns), _whole(high, ny, rows)


def _whole(cells: float, points: int, room: int) -> int:
    """About this many cells, with a whole number of cells per point if that is close and there is room."""
    each = min(round(cells / points), room // points)
    return each * points if each else max(1, int(cells))


def _samples(points: int, cells: int) -> np.ndarray:
    """The index of the point that each cell shows."""
    return ((np.arange(cells) + 0.5) * points / cells).astype(int)


def _curve(units: np.ndarray, kinds: np.ndarray, columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A curve: in each column, the cells from its height to halfway towards the heights of its neighbours."""
    at = np.linspace(0, len(units) - 1, columns)
    nearest = np.rint(at).astype(int)
    known = np.flatnonzero(kinds == Kind.VALUE)
    heights = np.interp(at, known, units[known], np.nan, np.nan) if len(known) else np.full(columns, np.nan)
    heights[kinds[nearest] != Kind.VALUE] = np.nan
    shown, found = np.full((rows, columns), np.nan), np.zeros((rows, columns), np.uint8)
    found[-1, kinds[nearest] == Kind.FAILED] = Kind.FAILED
    found[-1, kinds[nearest] == Kind.NAN] = Kind.NAN
    for column in np.flatnonzero(~np.isnan(heights)):
        ends = [heights[column]]
        for beside in (column - 1, column + 1):
            if 0 <= beside < columns and not np.isnan(heights[beside]):
                ends.append((heights[column] + heights[beside]) / 2)
        top, bottom = (int(np.rint((1 - end) * (rows - 1))) for end in (max(ends), min(ends)))
        shown[top : bottom + 1, column], found[top : bottom + 1, column] = heights[column], Kind.VALUE
    return shown, found
