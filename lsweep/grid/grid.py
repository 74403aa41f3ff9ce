"""Grid points: axes, shape, and the coarse-to-fine order of evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lsweep.errors import ConfigError

AXIS_NAMES = ("x", "y", "z")
MOST_POINTS = 10**8  # 10,000 × 10,000, for which the order of evaluation alone takes a gigabyte


@dataclass(frozen=True)
class Axis:
    """One coordinate of the grid: `num` equally spaced values from `min` to `max`, both included."""

    min: float = -1.0
    max: float = 1.0
    num: int = 51

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ConfigError(f"an axis needs num >= 1, got num = {self.num}", key="num")
        if not (math.isfinite(self.min) and math.isfinite(self.max)):
            raise ConfigError(
                f"an axis needs finite bounds, got min = {self.min}, max = {self.max}", key="min"
            )
        if self.min > self.max:
            raise ConfigError(f"an axis needs min <= max, got min = {self.min} > max = {self.max}", key="min")
        if not math.isfinite(self.max - self.min):
            raise ConfigError(
                f"an axis needs a finite length, and max - min overflows: min = {self.min}, max = {self.max}",
                key="min",
            )
        if self.num > 1 and self.min == self.max:
            raise ConfigError(
                f"an axis of {self.num} points needs min < max, got min = max = {self.min}; set num = 1",
                key="min",
            )

    @cached_property
    def values(self) -> np.ndarray:
        """The coordinates, float64 (num,), read-only. Computed once, because every point looks up its own."""
        values = np.linspace(self.min, self.max, self.num)
        # linspace(-1, 1, 99)[49] is 1.1e-16, but the centre must be exactly 0.
        rounding = 4 * np.finfo(np.float64).eps * max(abs(self.min), abs(self.max))
        values[1:-1][np.abs(values[1:-1]) < rounding] = 0.0
        values.flags.writeable = False
        return values


@dataclass(frozen=True)
class Refine:
    """Settings of adaptive refinement, which interpolates where it can; see `lsweep.grid.refine`.

    Attributes:
        tolerance: the target relative error of an interpolated loss.
        levels: contour levels to be drawn; near them the tolerance is smaller.
    """

    tolerance: float = 0.02
    levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"tolerance must be > 0 and < 1, got {self.tolerance}", key="tolerance")
        if not all(0 < level < math.inf for level in self.levels):
            raise ConfigError(
                f"levels must be losses, finite and > 0; got {', '.join(f'{v:g}' for v in self.levels)}",
                key="levels",
            )


@dataclass(frozen=True)
class Grid:
    """One to three axes. Arrays over the grid are shaped (nz, ny, nx), (ny, nx) or (nx,): x varies fastest."""

    x: Axis = Axis()
    y: Axis | None = None
    z: Axis | None = None
    refine: Refine | None = None

    def __post_init__(self) -> None:
        if self.z is not None and self.y is None:
            raise ConfigError(
                "grid.z needs grid.y, because a box has three axes; set grid.y too", key="grid.z"
            )
        if self.size > MOST_POINTS:
            raise ConfigError(f"a grid has at most {MOST_POINTS:.0e} points, got {self.size:.3g}", key="grid")

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes that exist, x first."""
        return tuple(axis for axis in (self.x, self.y, self.z) if axis is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes that exist, x first."""
        return AXIS_NAMES[: len(self.axes)]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of an array over the grid, slowest axis (the last one) first."""
        return tuple(axis.num for axis in reversed(self.axes))

    @cached_property
    def size(self) -> int:
        """The number of points."""
        return math.prod(self.shape)

    def coordinates(self, flat: np.ndarray) -> np.ndarray:
        """Coordinates (α, β, …) of points given by their index in C order.

        Args:
            flat: (k,) integer indices into an array of `shape`, flattened.

        Returns:
            (k, ndim) float64; column 0 is x, column 1 is y, column 2 is z.
        """
        indices = np.unravel_index(np.asarray(flat, dtype=np.int64), self.shape)
        found = np.empty((len(indices[0]), len(self.axes)))
        for column, (axis, index) in enumerate(zip(self.axes, reversed(indices), strict=True)):
            found[:, column] = axis.values[index]
        return found

    def levels(self) -> np.ndarray:
        """The level of each point, flat: points of low level are evaluated first; 0 is the coarsest subgrid.

        A subgrid of level l takes every 2^(L-l)-th index along each axis, so the points of levels 0…l
        together show the whole surface at a lower resolution.
        """
        finest = max((int(n - 1).bit_length() for n in self.shape), default=0)
        level = np.zeros((), dtype=np.int64)
        for n in self.shape:
            index = np.arange(n)
            lowest_bit = np.where(index > 0, index & -index, 1 << finest)
            of_axis = finest - np.log2(lowest_bit).astype(np.int64)
            level = np.maximum(level[..., None], of_axis)
        return level.reshape(-1)
