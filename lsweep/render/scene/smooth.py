"""Monotone cubic interpolation of a height field to a finer grid."""

from __future__ import annotations

import numpy as np


def refined(values: np.ndarray, parts: int) -> np.ndarray:
    """Subdivide every cell of a (rows, columns) grid: ((rows - 1) * parts + 1, (columns - 1) * parts + 1).

    Uses along each axis a piecewise cubic with the slopes of Fritsch and Butland (1984, equal steps). It interpolates
    the values and is monotone between them, so no minimum is deeper than a measured one. Cells that touch a NaN become
    NaN.
    """
    return _along(_along(values, parts).T, parts).T


def subdivided(axis: np.ndarray, parts: int) -> np.ndarray:
    """The coordinates of the points of `refined`: (n,) to ((n - 1) * parts + 1,)."""
    at = np.arange((len(axis) - 1) * parts + 1) / parts
    return np.interp(at, np.arange(len(axis)), axis)


def _along(values: np.ndarray, parts: int) -> np.ndarray:
    """Refine along axis 0: (n, m) to ((n - 1) * parts + 1, m)."""
    if parts == 1:
        return values
    slopes = _slopes(values)
    t = (np.arange(parts) / parts)[None, :, None]
    a, b, da, db = (grid[:, None] for grid in (values[:-1], values[1:], slopes[:-1], slopes[1:]))
    cubic = (
        (2 * t**3 - 3 * t**2 + 1) * a
        + (t**3 - 2 * t**2 + t) * da
        + (3 * t**2 - 2 * t**3) * b
        + (t**3 - t**2) * db
    )
    cubic[:, 0] = values[:-1]  # also next to a NaN
    return np.concatenate([cubic.reshape(-1, values.shape[1]), values[-1:]])


def _slopes(values: np.ndarray) -> np.ndarray:
    """Slopes at the points along axis 0: the harmonic mean of the slopes on both sides, 0 at an extremum.

    At an end or next to a NaN, the slope of the one available side is used.
    """
    steps = np.diff(values, axis=0)
    none = np.full((1, values.shape[1]), np.nan)
    before, after = np.concatenate([none, steps]), np.concatenate([steps, none])
    before, after = np.where(np.isnan(before), after, before), np.where(np.isnan(after), before, after)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = 2 * before * after / (before + after)
    return np.nan_to_num(np.where(before * after > 0, mean, 0.0))
