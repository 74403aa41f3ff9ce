"""Ambient occlusion of a height field.

VTK's screen-space ambient occlusion also works off screen. However, with software OpenGL it made frames several times
slower, and it flickers while the camera moves; for a height field the occlusion can be computed exactly.
"""

from __future__ import annotations

import numpy as np

DIRECTIONS = 16
STEPS = 20  # samples along each direction, denser near the point
REACH = 0.5  # maximum distance in units of the plane's longer side


def visibility(height: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The cosine-weighted share of the sky visible from each point, (rows, columns) in [0, 1]; 1 on a flat surface.

    Args:
        height: (rows, columns), in the units of the steps; NaN points occlude nothing.
        dx, dy: the steps between columns and between rows.
    """
    solid = np.where(np.isnan(height), np.nanmin(height), height)
    reach = REACH * max(dx * (height.shape[1] - 1), dy * (height.shape[0] - 1))
    distances = np.geomspace(min(dx, dy), reach, STEPS)
    total = np.zeros_like(solid)
    for angle in 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        steepest = np.zeros_like(solid)
        for distance in distances:
            right, up = distance * np.cos(angle) / dx, distance * np.sin(angle) / dy
            steepest = np.maximum(steepest, (_shifted(solid, right, up) - solid) / distance)
        total += 1 / (1 + steepest**2)  # cos² of the horizon's elevation
    return total / DIRECTIONS


def _shifted(height: np.ndarray, right: float, up: float) -> np.ndarray:
    """The heights shifted by the given columns and rows, interpolated bilinearly; −∞ beyond the edge."""
    padded = height
    for axis, shift in ((1, right), (0, up)):
        whole = int(np.floor(shift))
        part = shift - whole
        near, far = _moved(padded, whole, axis), _moved(padded, whole + 1, axis)
        padded = near if part == 0 else (1 - part) * near + part * far
    return padded


def _moved(grid: np.ndarray, by: int, axis: int) -> np.ndarray:
    """`grid[k + by]` along an axis; −∞ outside the grid."""
    moved = np.full_like(grid, -np.inf)
    count = grid.shape[axis] - abs(by)
    if count > 0:
        source, target = [slice(None)] * 2, [slice(None)] * 2
        source[axis] = slice(max(by, 0), max(by, 0) + count)
        target[axis] = slice(max(-by, 0), max(-by, 0) + count)
        moved[tuple(target)] = grid[tuple(source)]
    return moved
