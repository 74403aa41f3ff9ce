"""Surfaces as CSV in long form: one row per point with its coordinates."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lsweep.convert.columns import flat_columns, surface_of
from lsweep.errors import FileFormatError
from lsweep.grid import AXIS_NAMES
from lsweep.surface import Status, Surface

WORDS = {status.name.lower(): int(status) for status in Status}
MOST_BYTES = 1 << 30
MOST_POINTS = 10**7
ENCODING = "utf-8-sig"  # spreadsheets write a byte order mark


def encode(surface: Surface) -> bytes:
    """The bytes of a CSV file: a header, then one row per point, x fastest.

    Numbers are written so that reading them gives the same bits; `status` is a word. Unknown values of a point that
    is not done are empty cells; a NaN of a point that is done is "nan".
    """
    table = flat_columns(surface)
    done = surface.done.reshape(-1)
    words = {value: word for word, value in WORDS.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    columns = []
    for name, values in table.items():
        if name == "status":
            columns.append([words.get(int(value), str(value)) for value in values])
        else:
            always = name in surface.axes
            columns.append([_cell(v, always or d) for v, d in zip(values.tolist(), done, strict=True)])
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _cell(value: float | int, known: bool) -> str:
    if not known and (isinstance(value, int) or math.isnan(value)):
        return ""
    return repr(value)


def read(path: Path) -> Surface:
    """Read a CSV file with the columns x, [y, [z]], loss and others, with rows in any order.

    The column `status` gives the status of a point. Without it, a point is done if its row has a loss ("nan" counts),
    else pending. Grid points without a row are pending. Non-numeric columns are ignored.

    Raises:
        FileFormatError: the file does not exist or is not CSV, a column is missing, a cell is not a number, or a point
            occurs twice.
    """
    header, rows = _rows(path)
    axes_names = [name for name in AXIS_NAMES if name in header]
    if "loss" not in header or axes_names != list(AXIS_NAMES[: len(axes_names)]) or not axes_names:
        raise FileFormatError(
            f"{path.name}: expected a header with x, [y, [z]] and loss, got {', '.join(header)[:200]}",
            key="loss",
        )
    columns: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) or [()] * len(header)
    cells = dict(zip(header, columns, strict=True))
    points = {name: _numbers(path, name, cells[name]) for name in axes_names}
    axes, index = _grid(path, points)
    shape = tuple(len(values) for values in reversed(axes.values()))
    status = np.full(math.prod(shape), Status.PENDING, dtype=np.uint8)
    status[index] = _status(path, cells)
    arrays = {}
    for name in header:
        if name in (*axes_names, "status") or not (name == "loss" or _are_numbers(cells[name])):
            continue
        values = np.full(math.prod(shape), np.nan)
        values[index] = _numbers(path, name, cells[name])
        arrays[name] = values.reshape(shape)
    return surface_of(axes, arrays, status.reshape(shape), path=path)


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FileFormatError(f"{path.name} is larger than {MOST_BYTES} bytes", key=str(path))
        text = path.read_bytes().decode(ENCODING)
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except OSError as error:
        raise FileFormatError(f"cannot read {str(path)!r}: {error.strerror}", key=str(path)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{path.name} is not a CSV file: {error}", key=str(path)) from None
    header = [name.strip() for name in rows[0]] if rows else []
    if len(set(header)) < len(header):
        raise FileFormatError(f"{path.name}: two columns have the same name", key=str(path))
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise FileFormatError(
                f"{path.name}: row {number} has {len(row)} cells, the header has {len(header)}", key=str(path)
            )
    return header, rows[1:]


def _numbers(path: Path, name: str, cells: Sequence[str]) -> np.ndarray:
    """A column as float64, NaN for an empty cell."""
    try:
        return np.array([_number(cell) for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise FileFormatError(f"{path.name}: in column {name!r}: {error}", key=name) from None


def _are_numbers(cells: Sequence[str]) -> bool:
    try:
        return all(_number(cell) is not None for cell in cells)
    except ValueError:
        return False


def _number(cell: str) -> float:
    return float(cell) if cell.strip() else math.nan


def _grid(path: Path, points: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The axes, and each row's flat index into the grid."""
    axes, places = {}, []
    for name, values in points.items():
        if not len(values) or not np.isfinite(values).all():
            raise FileFormatError(f"{path.name}: the coordinates {name!r} must be finite numbers", key=name)
        axes[name], place = np.unique(values, return_inverse=True)
        places.append(place)
    shape = tuple(len(values) for values in reversed(axes.values()))
    if math.prod(shape) > max(MOST_POINTS, 100 * len(places[0])):
        raise FileFormatError(
            f"{path.name}: {len(places[0])} rows do not form a grid; their coordinates span {math.prod(shape)} points",
            key="x",
        )
    index = np.ravel_multi_index(tuple(reversed(places)), shape)
    if len(np.unique(index)) < len(index):
        raise FileFormatError(f"{path.name}: some points have more than one row", key="x")
    return axes, index


def _status(path: Path, cells: dict[str, Sequence[str]]) -> np.ndarray:
    if "status" not in cells:
        return np.array([WORDS["done" if cell.strip() else "pending"] for cell in cells["loss"]], np.uint8)
    numbered = {str(value): value for value in WORDS.values()}
    known = WORDS | numbered
    for cell in cells["status"]:
        if cell.strip().lower() not in known:
            raise FileFormatError(
                f"{path.name}: status must be one of {', '.join(WORDS)}, got {cell[:40]!r}", key="status"
            )
    return np.array([known[cell.strip().lower()] for cell in cells["status"]], dtype=np.uint8)
