"""Certificate of a sweep's accuracy: the errors of a random sample of its points, evaluated again in full.

The error bars of a point (from a subset of the examples or a lower precision) are estimates, and an interpolated point
has none. A certificate compares some points with their values on all examples in fp32 (fp64 in a sweep of fp64). It
samples equally many evaluated and interpolated points, because the errors of the two kinds are unrelated.

The sample consists of the first points of a kind in a fixed random order of the grid, so a larger sample extends a
smaller one. It allows the usual statements about a random sample: the largest of 59 errors exceeds 95 % of all errors
with a confidence of 95 % (1 − 0.95⁵⁹), the largest of 20 with 64 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from lsweep.grid.refine import is_judged

POINTS = 20  # default number of points of each kind


class Kind(IntEnum):
    """How a point's value was obtained."""

    EVALUATED = 0
    INTERPOLATED = 1


@dataclass(frozen=True)
class Spread:
    """Distribution of the errors of some points; an error is infinite if only one of the two values is a number.

    Attributes:
        count: the number of points.
        median: the median error.
        most: the smallest of the errors that at least 95 % of the points do not exceed.
        largest: the largest error.
    """

    count: int
    median: float
    most: float
    largest: float

    def __str__(self) -> str:
        return (
            f"median {_percent(self.median)}, 95 % within {_percent(self.most)}, "
            f"largest {_percent(self.largest)}"
        )


@dataclass(frozen=True)
class Certificate:
    """Sampled points of a sweep with their stored and full values. All arrays are (n,), evaluated points first.

    Attributes:
        points: int64 flat indices into the grid, C order.
        kinds: uint8, the `Kind` of each point.
        full: metric → float64, values on all examples.
        stored: metric → float64, the sweep's values: evaluated, or interpolated as by `Surface.filled`.
        wanted: the requested number of points of each kind; fewer if the sweep has fewer.
        populations: `Kind` → the number of points from which the sample was drawn.
        seed: seed for the random order in which points are drawn.
        precision: the precision of `full`, "fp32" or "fp64".
        provenance: versions, commit, hardware.
    """

    points: np.ndarray
    kinds: np.ndarray
    full: Mapping[str, np.ndarray]
    stored: Mapping[str, np.ndarray]
    wanted: int
    populations: Mapping[Kind, int]
    seed: int
    precision: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses of all splits."""
        return tuple(filter(is_judged, self.full))

    @property
    def missing(self) -> int:
        """The number of points of the sample that have not been evaluated yet."""
        return sum(min(self.wanted, size) for size in self.populations.values()) - len(self)

    def absolute_error(self, name: str) -> np.ndarray:
        """|stored − full| of a metric, float64 (n,): 0 where both are equal or both NaN, infinite where one is NaN."""
        stored, full = self.stored[name], self.full[name]
        same = (stored == full) | (np.isnan(stored) & np.isnan(full))
        with np.errstate(invalid="ignore"):
            off = np.abs(stored - full)
        return np.where(same, 0.0, np.where(np.isnan(off), np.inf, off))

    def relative_error(self, name: str) -> np.ndarray:
        """|stored − full| / |full| of a metric, float64 (n,): 0 where both are equal (also both 0) or both NaN.

        It is of little use for a loss near zero: see `absolute_error`.
        """
        off = self.absolute_error(name)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = off / np.abs(self.full[name])
        return np.where(off == 0, 0.0, np.where(np.isnan(relative), np.inf, relative))

    def spread(self, name: str, kind: Kind) -> Spread | None:
        """The distribution of the relative errors of a metric at the points of a kind; None without such points."""
        errors = np.sort(self.relative_error(name)[self.kinds == kind])
        if not (count := len(errors)):
            return None
        median = (errors[(count - 1) // 2] + errors[count // 2]) / 2
        return Spread(count, float(median), float(errors[math.ceil(0.95 * count) - 1]), float(errors[-1]))

    def lines(self) -> list[str]:
        """A summary, one line per loss."""
        named = len(self.losses) > 1
        return [(f"{name}: " if named else "") + self._line(name) for name in self.losses]

    def _line(self, name: str) -> str:
        parts = []
        for kind in Kind:
            spread = self.spread(name, kind)
            if spread is not None:
                which = f"{spread.count} of {self.populations[kind]} {kind.name.lower()} points"
                parts.append(f"{which}: {spread}")
        if self.missing > 0:
            parts.append(f"{self.missing} points not evaluated yet")
        return "; ".join(parts)


def draw(members: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw a random sample of points.

    Args:
        members: boolean, flat, over the whole grid: the points to draw from.
        count: the number of points.
        seed: seed for the random order; the generator's raw numbers are the same in all versions of numpy.

    Returns:
        flat indices, int64; all members if there are fewer than `count`. A larger sample begins with a smaller one.
    """
    order = np.argsort(np.random.PCG64(seed).random_raw(len(members)), kind="stable")
    return order[members[order]][:count]


def _percent(error: float) -> str:
    return f"{100 * error:.2g} %" if math.isfinite(error) else "infinite"
