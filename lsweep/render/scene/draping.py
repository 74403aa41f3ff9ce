"""Paths draped over height fields. Numpy only."""

from __future__ import annotations

import numpy as np

FINEST = 200  # approximate number of steps across the plane's longer side
MOST = 1000  # maximum number of steps between two checkpoints


def cut(corners: np.ndarray, finest: float) -> np.ndarray:
    """Parameters of points along a polyline with a spacing of at most `finest`.

    Args:
        corners: (k, d), k ≥ 1.
        finest: maximum spacing, in the units of the corners.

    Returns:
        (n,) increasing from 0 to k - 1, with all whole numbers: 2.5 is halfway from corner 2 to corner 3.
    """
    with np.errstate(all="ignore"):  # coordinates of a path from a file need not be finite
        lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1) / finest
    parts = np.clip(np.ceil(np.nan_to_num(lengths, nan=1.0)), 1, MOST).astype(int)
    return np.concatenate([k + np.arange(n) / n for k, n in enumerate(parts)] + [[len(corners) - 1.0]])


def along(corners: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The points of a polyline at the parameters of `cut`: (k, d) and (n,) to (n, d)."""
    return np.stack([np.interp(at, np.arange(len(corners)), column) for column in corners.T], axis=-1)


def sampled(
    x: np.ndarray, y: np.ndarray, values: np.ndarray, at_x: np.ndarray, at_y: np.ndarray
) -> np.ndarray:
    """Bilinear interpolation of a (len(y), len(x)) grid at (k,) points; NaN outside, at NaN points, and near a NaN."""
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
