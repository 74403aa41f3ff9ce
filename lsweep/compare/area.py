"""Share of a plane or line that lies below a given loss."""

from __future__ import annotations

import numpy as np

from lsweep.surface import Surface


def share_below(surface: Surface, level: float, metric: str = "loss") -> float:
    """The share of the points whose value lies below `level`, in [0, 1]; settled points have interpolated values.

    A NaN is never below; pending points are not counted. NaN if no point is done.
    """
    known = surface.done | surface.settled
    if not known.any():
        return float("nan")
    return float((surface.filled(metric)[known] < level).mean())


def area_below(values: np.ndarray, known: np.ndarray, level: float) -> float:
    """The share of a plane's area (or of a line's length) where the linearly interpolated surface is below `level`.

    Each cell is cut into four triangles that meet at its centre, whose value is the mean of the corners, and each
    triangle is interpolated linearly. On a coarse grid, the share of points would change in steps of whole points.

    Args:
        values: (ny, nx) or (nx,) float64, on an equally spaced grid; may hold NaN and infinities.
        known: boolean, same shape: True where there is a result. A cell with an unknown corner is left out; a cell
            whose corners are all known, but not all finite, is not below any level.
        level: of the loss.

    Returns:
        In [0, 1]; NaN if no cell has all its corners.
    """
    counted = _all_corners(known)
    if not counted.any():
        return float("nan")
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):  # a mean of corners beyond 1e308 is infinite, and not below
        below = _parts_below(np.where(finite, values, 0.0), level)
    return float(np.where(_all_corners(known & finite), below, 0.0)[counted].mean())


def _all_corners(mask: np.ndarray) -> np.ndarray:
    for axis in range(mask.ndim):
        mask = np.logical_and(*(np.delete(mask, end, axis) for end in (0, -1)))
    return mask


def _parts_below(values: np.ndarray, level: float) -> np.ndarray:
    """The fraction of each cell below the level, (ny - 1, nx - 1) or (nx - 1,)."""
    if values.ndim == 1:
        return _segment_below(values[:-1], values[1:], level)
    corners = values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]
    middle = sum(corner / 4 for corner in corners)
    sides = zip(corners, (*corners[1:], corners[0]), strict=True)
    parts = [_triangle_below(np.stack([start, end, middle]), level) for start, end in sides]
    return np.mean(parts, axis=0)


def _segment_below(start: np.ndarray, end: np.ndarray, level: float) -> np.ndarray:
    low, high = np.minimum(start, end), np.maximum(start, end)
    return np.where(high < level, 1.0, _ratio(level - low, high - low))


def _triangle_below(corners: np.ndarray, level: float) -> np.ndarray:
    """The fraction of a triangle below the level, interpolated linearly from the values at its corners (3, …)."""
    low, mid, high = np.sort(corners, axis=0)
    tip = _ratio(level - low, mid - low) * _ratio(level - low, high - low)
    rest = 1.0 - _ratio(high - level, high - low) * _ratio(high - level, high - mid)
    return np.where(level <= mid, np.where(level > low, tip, 0.0), np.where(level < high, rest, 1.0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, clipped to [0, 1]; 0 where the whole is 0."""
    return np.clip(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0), 0.0, 1.0)
