"""Scalar field of one metric, restricted to the plane or line that a figure shows."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lsweep.errors import InputError, printable
from lsweep.grid import AXIS_NAMES
from lsweep.surface import Status, Surface

LARGEST = 1e150  # largest value in figures: matplotlib squares and subtracts, and an overflow there raises
LETTERS = {"x": "α", "y": "β", "z": "γ"}


@dataclass(frozen=True)
class Field:
    """Values to draw, with the information that the figure must show.

    Attributes:
        metric: name of the metric.
        names: the axes that are drawn, horizontal first: ("x",), ("y",), ("x", "y"), ….
        axes: their coordinates, in the same order.
        values: float64, (n,) or (rows, columns), per cent for an accuracy; NaN where nothing is drawn; infinities are
            kept, and values beyond `LARGEST` become infinite.
        nan: boolean, same shape: where NaN is a result.
        status: uint8, same shape: status of each point, see `lsweep.surface.Status`.
        partial: whether points are pending.
        percent: whether the values are in per cent.
        title: name of the network.
        notes: short remarks ("1234 of 2601 points").
    """

    metric: str
    names: tuple[str, ...]
    axes: tuple[np.ndarray, ...]
    values: np.ndarray
    nan: np.ndarray
    status: np.ndarray
    partial: bool
    percent: bool
    title: str
    notes: tuple[str, ...]

    @property
    def finite(self) -> np.ndarray:
        """The finite values, flat."""
        return self.values[np.isfinite(self.values)]

    @property
    def evaluated(self) -> np.ndarray:
        """Boolean: where a value was computed rather than interpolated."""
        return self.status == Status.DONE

    def stride(self) -> int:
        """The stride along each axis that covers most of a partial sweep; 1 for a complete one.

        Points are evaluated from coarse to fine. A sweep that is 30 % done has every second point along each axis,
        but hardly any cell with all its corners; with stride 2 it can be drawn without holes.
        """
        if not self.partial:
            return 1
        strides = [2**k for k in range(int(max(self.values.shape) - 1).bit_length())] or [1]
        covered = [_covered(self.values, stride) for stride in strides]
        # A few pending points in a fine grid are drawn as holes; they do not justify a coarser grid.
        return next(s for s, area in zip(strides, covered, strict=True) if area >= 0.9 * max(covered))

    def thinned(self) -> Field:
        """The coarser grid given by `stride`, or this field if that is 1."""
        stride = self.stride()
        if stride == 1:
            return self
        each = tuple(slice(None, None, stride) for _ in self.axes)
        return replace(
            self,
            axes=tuple(axis[::stride] for axis in self.axes),
            values=self.values[each],
            nan=self.nan[each],
            status=self.status[each],
            notes=(*self.notes, f"drawn at 1/{stride} resolution"),
        )


def extract(surface: Surface, metric: str, dims: int, index: int | None = None) -> Field:
    """Extract one metric of a surface along `dims` axes.

    Axes of a single point are dropped; then the slowest axis is fixed, at `index` or nearest to 0, until
    `dims` are left. Settled points have their interpolated value; other points that are not done are NaN.

    Raises:
        InputError: the metric is unknown, the index is outside the axis, there are fewer axes than the figure needs,
            or coordinates are too close or too large to be drawn.
    """
    if metric not in surface.metrics:
        valid = ", ".join(sorted(surface.metrics))
        raise InputError(f"no metric {metric!r} in {place_of(surface)} (valid: {valid})", key="metric")
    names, where, cuts = _cut(surface, dims, index)
    for name in names:
        _check_axis(surface, name)
    percent = is_accuracy(metric)
    status = surface.status[where]
    done = status == Status.DONE
    known = done | (status == Status.SETTLED)
    values = np.where(known, np.asarray(surface.filled(metric), dtype=np.float64)[where], np.nan)
    values = np.where(np.abs(values) > LARGEST, np.copysign(np.inf, values), values)
    nan = done & np.isnan(values)
    return Field(
        metric=metric,
        names=names,
        axes=tuple(np.asarray(surface.axes[name], dtype=np.float64) for name in names),
        values=values * 100.0 if percent else values,
        nan=nan,
        status=status,
        partial=bool((status == Status.PENDING).any()),
        percent=percent,
        title=title_of(surface),
        notes=(*cuts, *_counts(status, values, nan)),
    )


def is_accuracy(metric: str) -> bool:
    """Whether the metric is a fraction in [0, 1] that figures show in per cent."""
    return metric == "accuracy" or metric.startswith("accuracy_")


def wide_axes(surface: Surface) -> int:
    """The number of axes with more than one point, at least 1."""
    return max(1, sum(n > 1 for n in surface.shape))


def configuration(surface: Surface) -> dict[str, Any]:
    """The sweep's configuration; empty if there is none or it is not TOML."""
    try:
        return tomllib.loads(surface.config)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def network_name(surface: Surface) -> str:
    """The network's name from the configuration, else the name of the file; may be empty."""
    model = configuration(surface).get("model")
    source = model.get("source") if isinstance(model, dict) else None
    name = source if isinstance(source, str) else (surface.path.stem if surface.path else "")
    # Only the last part of a path is informative.
    return printable(name.rsplit("/", 1)[-1][:200])


def network_names(surfaces: Sequence[Surface]) -> list[str]:
    """The networks' names; the files' names if several sweeps are of the same network."""
    names = [network_name(surface) for surface in surfaces]
    if len(set(names)) == len(names):
        return names
    stems = [printable(surface.path.stem[:200]) if surface.path else "" for surface in surfaces]
    return stems if len(set(stems)) == len(stems) else names


def title_of(surface: Surface) -> str:
    """The network's name, escaped for matplotlib."""
    return literal(network_name(surface))


def literal(name: str) -> str:
    """A name from a file, escaped for a title in matplotlib, where "$" would start a formula."""
    return name.replace("$", r"\$")


def _check_axis(surface: Surface, name: str) -> None:
    axis = surface.axes[name]
    size, width = float(np.abs(axis).max()), float(axis[-1]) - float(axis[0])
    if size > LARGEST or (len(axis) > 1 and width < max(1 / LARGEST, 1e-9 * size)):
        raise InputError(
            f"{place_of(surface)}: the axis {name} from {axis[0]:.17g} to {axis[-1]:.17g} cannot be drawn; it is "
            "too narrow or too large",
            key=name,
        )


def _cut(surface: Surface, dims: int, index: int | None) -> tuple[tuple[str, ...], Any, list[str]]:
    """Return the remaining axes, a numpy index into arrays of `surface.shape`, and notes on the fixed axes."""
    names = AXIS_NAMES[: surface.ndim]
    stay = [name for name in names if len(surface.axes[name]) > 1] or ["x"]
    if len(stay) < dims:
        raise InputError(
            f"{place_of(surface)} has more than one point only along {', '.join(stay)}, too few axes for a plane;"
            " use kind = line",
            key="kind",
        )
    where: dict[str, int | slice] = {name: slice(None) if name in stay else 0 for name in names}
    while len(stay) > dims:
        name = stay.pop()
        where[name] = _pick(surface.axes[name], name, index)
        index = None
    fixed = [name for name in names if name not in stay]
    cuts = [f"{LETTERS[name]} = {surface.axes[name][where[name]]:.3g}" for name in fixed]
    return tuple(stay), tuple(where[name] for name in reversed(names)), cuts


def _pick(axis: np.ndarray, name: str, index: int | None) -> int:
    if index is None:
        return int(np.abs(axis).argmin())
    if not 0 <= index < len(axis):
        raise InputError(f"slice must be 0 to {len(axis) - 1} along {name}, got {index}", key="slice")
    return index


def _counts(status: np.ndarray, values: np.ndarray, nan: np.ndarray) -> list[str]:
    """Notes on the numbers of missing and non-finite points."""
    done, failed = int((status == Status.DONE).sum()), int((status == Status.FAILED).sum())
    infinite = int(np.isinf(values).sum())
    settled = int((status == Status.SETTLED).sum())
    notes = [f"{done} of {status.size} points"] if done < status.size else []
    notes += [f"{settled} interpolated"] if settled else []
    notes += [f"{failed} failed"] if failed else []
    notes += [f"{int(nan.sum())} NaN"] if nan.any() else []
    return notes + ([f"{infinite} infinite"] if infinite else [])


def _covered(values: np.ndarray, stride: int) -> int:
    """The area, in cells of the full grid, of those cells of a coarser grid that have all their corners."""
    known = ~np.isnan(values[tuple(slice(None, None, stride) for _ in values.shape)])
    for axis in range(known.ndim):
        known = np.logical_and(*(np.delete(known, end, axis) for end in (0, -1)))
    return int(known.sum()) * stride**values.ndim


def place_of(surface: Surface) -> str:
    """The name of the file, for messages."""
    return surface.path.name if surface.path else "the surface"
