"""Certificate of a sweep's accuracy: the errors of a random sample of its points, evaluated again in full.

Error bars that come with a point (a subset's, a lower precision's) are estimates, and an interpolated point has
none. A certificate sets some points beside all examples in fp32 (fp64 in a sweep of fp64): of each kind as many,
since errors of evaluated and of interpolated points have nothing to do with each other.

The sample is the beginning of one random order of the grid, cut to a kind's points: a larger one goes on where a
smaller one ended. It says of the points what a random sample can: the largest of 59 errors is above 95 % of all
of them with a confidence of 95 % (1 − 0.95⁵⁹), that of 20 with 64 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from lsweep.grid.refine import is_judged

POINTS = 20  # of each kind, where nobody says how many


class Kind(IntEnum):
    """How the sweep came to a point's value."""

    EVALUATED = 0
    INTERPOLATED = 1


@dataclass(frozen=True)
class Spread:
    """Errors of some points; infinite where one value is a number and the other is not.

    Attributes:
        count: of points.
        median: as ever.
        most: 95 % of the points have at most this error: the smallest that is one of them.
        largest: of all.
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
    """Points of a sweep beside their full values. All arrays are (n,), evaluated points first.

    Attributes:
        points: int64 flat indices into the grid, C order.
        kinds: uint8, a `Kind` each.
        full: metric → float64, of all examples.
        stored: metric → float64, the sweep's own: evaluated, or interpolated as `Surface.filled` does it.
        wanted: how many points of each kind there were to be, if there are as many.
        populations: `Kind` → how many points the sample stands for.
        seed: of the order in which points are drawn.
        precision: of `full`, "fp32" or "fp64".
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
        """How many points of the sample have not been evaluated yet."""
        return sum(min(self.wanted, size) for size in self.populations.values()) - len(self)

    def absolute_error(self, name: str) -> np.ndarray:
        """|stored − full| of a metric, float64 (n,): 0 where both are the same, NaN too; infinite where one is."""
        stored, full = self.stored[name], self.full[name]
        same = (stored == full) | (np.isnan(stored) & np.isnan(full))
        with np.errstate(invalid="ignore"):
            off = np.abs(stored - full)
        return np.where(same, 0.0, np.where(np.isnan(off), np.inf, off))

    def relative_error(self, name: str) -> np.ndarray:
        """|stored − full| / |full| of a metric, float64 (n,): 0 where both are the same, 0 and NaN too.

        Near a loss of zero it says little: see `absolute_error`.
        """
        off = self.absolute_error(name)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = off / np.abs(self.full[name])
        return np.where(off == 0, 0.0, np.where(np.isnan(relative), np.inf, relative))

    def spread(self, name: str, kind: Kind) -> Spread | None:
        """The relative errors of a metric at the points of a kind; None where there are none."""
        errors = np.sort(self.relative_error(name)[self.kinds == kind])
        if not (count := len(errors)):
            return None
        median = (errors[(count - 1) // 2] + errors[count // 2]) / 2
        return Spread(count, float(median), float(errors[math.ceil(0.95 * count) - 1]), float(errors[-1]))

    def lines(self) -> list[str]:
        """In words, one line per loss."""
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
            parts.append(f"{self.missing} more to come")
        return "; ".join(parts)


def draw(members: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A random sample.

    Args:
        members: boolean, flat, of the whole grid: what is drawn from.
        count: how many points.
        seed: of the order; the generator's raw numbers are the same in all versions of numpy.

    Returns:
        flat indices, int64; all members where there are fewer. A larger sample begins with a smaller one.
    """
    order = np.argsort(np.random.PCG64(seed).random_raw(len(members)), kind="stable")
    return order[members[order]][:count]


def _percent(error: float) -> str:
    return f"{100 * error:.2g} %" if math.isfinite(error) else "infinite"
