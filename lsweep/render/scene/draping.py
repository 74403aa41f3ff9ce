"""Paths draped over height fields. Numpy only."""

from __future__ import annotations

import numpy as np

FINEST = 200  # steps across the plane's longer side, about
MOST = 1000  # steps between two checkpoints


def cut(corners: np.ndarray, finest: float) -> np.ndarray:
    """Where along a polyline its points go, so that none is farther than `finest` from the next.

    Args:
        corners: (k, d), k ≥ 1.
        finest: in the units of the corners.

    Returns:
        (n,) rising from 0 to k - 1, all whole numbers among them: 2.5 is half-way from corner 2 to corner 3.
    """
    with np.errstate(all="ignore"):  # what a file says of a path need not be finite
        lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1) / finest
    parts = np.clip(np.ceil(np.nan_to_num(lengths, nan=1.0)), 1, MOST).astype(int)
    return np.concatenate([k + np.arange(n) / n for k, n in enumerate(parts)] + [[len(corners) - 1.0]])


def along(corners: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The points of a polyline that `cut` names: (k, d) and (n,) to (n, d)."""
    return np.stack([np.interp(at, np.arange(len(corners)), column) for column in corners.T], axis=-1)


def sampled(
    x: np.ndarray, y: np.ndarray, values: np.ndarray, at_x: np.ndarray, at_y: np.ndarray
) -> np.ndarray:
    """Values of a (len(y), len(x)) grid at (k,) places, bilinear; NaN outside, nowhere, and beside a NaN."""
    column = np.nan_to_num(np.interp(at_x, x, np.arange(len(x))))
    row = np.nan_to_num(np.interp(at_y, y, np.arange(len(y))))
    left = np.minimum(column.astype(int), max(len(x) - 2, 0))
    front = np.minimum(row.astype(int), max(len(y) - 2, 0))
    right, back = np.minimum(left + 1, len(x) - 1), np.minimum(front + 1, len(y) - 1)
    u, v = column - left, row - front
    with np.errstate(invalid="ignore"):
        found = (1 - v) * ((1 - u) * values[front, left] + u * values[front, right]) + v * (
            (1 - u) * values[back, left] + u * values[back, right]
        )
    inside = (at_x >= x[0]) & (at_x <= x[-1]) & (at_y >= y[0]) & (at_y <= y[-1])
    return np.where(inside, found, np.nan)


def runs(present: np.ndarray) -> list[np.ndarray]:
    """The indices of each run of True."""
    found = np.flatnonzero(present)
    return [run for run in np.split(found, np.flatnonzero(np.diff(found) > 1) + 1) if len(run)]
