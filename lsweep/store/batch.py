"""What travels from an evaluator to the file: a few points' results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Results of k points.

    Attributes:
        points: (k,) int64 flat indices into the grid, C order.
        values: (k, metrics) float64, in the store's order of names; NaN for a failed point.
        status: (k,) uint8, `Status.DONE` or `Status.FAILED`; or `Status.SETTLED`, of all points of the batch.
        seconds: (k,) float32.
        rank: (k,) int32, who evaluated.
        columns: (k,) each, the store's further numbers per point; one that is absent keeps its fill value.
    """

    points: np.ndarray
    values: np.ndarray
    status: np.ndarray
    seconds: np.ndarray
    rank: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Join batches into one, in order of points, so that neighbours can be written in one run."""
    order = np.argsort(np.concatenate([batch.points for batch in batches]), kind="stable")

    def joined(part: Callable[[Batch], np.ndarray]) -> np.ndarray:
        return np.concatenate([part(batch) for batch in batches])[order]

    return Batch(
        points=joined(lambda b: b.points),
        values=joined(lambda b: b.values),
        status=joined(lambda b: b.status),
        seconds=joined(lambda b: b.seconds),
        rank=joined(lambda b: b.rank),
        columns={name: joined(lambda b, name=name: b.columns[name]) for name in batches[0].columns},  # type: ignore[misc]
    )


def runs(points: np.ndarray, row: int) -> list[tuple[int, int]]:
    """Cut increasing flat indices into contiguous runs that stay within one row of `row` points.

    Returns:
        (first, last + 1) positions in `points`, one pair per run.
    """
    breaks = (np.diff(points) != 1) | (points[1:] % row == 0)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(points)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
