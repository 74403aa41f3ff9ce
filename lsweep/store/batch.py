"""What travels from an evaluator to the file: a few points' results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Results of k points.

    Attributes:
        points: (k,) int64 flat indices into the grid, C order.
        values: (k, metrics) float64, in the store's order of names; NaN for a failed point.
        status: (k,) uint8, `Status.DONE` or `Status.FAILED`.
        seconds: (k,) float32.
        rank: (k,) int32, who evaluated.
    """

    points: np.ndarray
    values: np.ndarray
    status: np.ndarray
    seconds: np.ndarray
    rank: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Join batches into one, in order of points, so that neighbours can be written in one run."""
    joined = [
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("points", "values", "status", "seconds", "rank")
    ]
    order = np.argsort(joined[0], kind="stable")
    return Batch(*(array[order] for array in joined))


def runs(points: np.ndarray, row: int) -> list[tuple[int, int]]:
    """Cut increasing flat indices into contiguous runs that stay within one row of `row` points.

    Returns:
        (first, last + 1) positions in `points`, one pair per run.
    """
    breaks = (np.diff(points) != 1) | (points[1:] % row == 0)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(points)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
