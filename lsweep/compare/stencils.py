"""Second derivatives of a surface by finite differences on its grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def second_difference(values: np.ndarray, index: tuple[int, ...], axis: int, step: float) -> float:
    """[v(+h) − 2 v(0) + v(−h)] / h² at a point, along an axis of the array.

    This is the mean of the second derivative over [−h, h] with weights (1 − |t|/h)/h, so on a grid that is coarse
    compared with the minimum it is less than the curvature at the minimum.

    Args:
        values: an array of any shape.
        index: index of the point.
        axis: axis of `values`; in an array over a plane, y is 0 and x is 1.
        step: the spacing h along the axis.

    Returns:
        The second difference; NaN at the edge, or if one of the three values is not finite.
    """
    line = values[tuple(slice(None) if k == axis else i for k, i in enumerate(index))]
    middle = index[axis]
    if not 0 < middle < len(line) - 1 or not np.isfinite(line[middle - 1 : middle + 2]).all():
        return float("nan")
    return float((line[middle + 1] - 2 * line[middle] + line[middle - 1]) / step**2)


def convex_share(values: np.ndarray, steps: Sequence[float]) -> float:
    """The share of inner points where the local Hessian of the surface is positive definite, in [0, 1].

    On a plane, from the 3 × 3 points around each: v_xx and v_yy as in `second_difference`, and v_xy = [v(+,+) −
    v(+,−) − v(−,+) + v(−,−)] / (4 hx hy); positive definite if v_xx > 0 and v_xx·v_yy > v_xy². On a line: v_xx > 0.
    This is the Hessian of the surface, not of the network; it does not cover directions outside the plane.

    Args:
        values: (ny, nx) or (nx,).
        steps: the spacing along each axis, x first.

    Returns:
        The share among inner points whose 3 × 3 (or 3) values are all finite; NaN if there are none.
    """
    if min(values.shape, default=0) < 3:
        return float("nan")
    with np.errstate(invalid="ignore", over="ignore"):
        determined, convex = _judged_line(values) if values.ndim == 1 else _judged_plane(values, steps)
    return float(convex[determined].mean()) if determined.any() else float("nan")


def _judged_line(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the stencil is finite, and where the second difference is positive (its sign is independent of h)."""
    bent = values[2:] - 2 * values[1:-1] + values[:-2]
    return np.isfinite(bent), bent > 0


def _judged_plane(values: np.ndarray, steps: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    hx, hy = steps
    middle = values[1:-1, 1:-1]
    xx = (values[1:-1, 2:] - 2 * middle + values[1:-1, :-2]) / hx**2
    yy = (values[2:, 1:-1] - 2 * middle + values[:-2, 1:-1]) / hy**2
    xy = (values[2:, 2:] - values[2:, :-2] - values[:-2, 2:] + values[:-2, :-2]) / (4 * hx * hy)
    determined = np.isfinite(xx) & np.isfinite(yy) & np.isfinite(xy)
    return determined, (xx > 0) & (xx * yy > xy**2)
