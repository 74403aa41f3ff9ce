"""Thin tubes along lines, since other programs draw lines one pixel wide or not at all. Numpy only."""

from __future__ import annotations

import numpy as np

SIDES = 8


def tube(line: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Rings around the points of a line, and the quadrilaterals between them, seen from outside; open at the ends.

    Args:
        line: (k, 3), k ≥ 2, no point the same as the one before.
        radius: of the tube.

    Returns:
        Points, (SIDES * k, 3), and (SIDES * (k - 1), 4) indices of them.
    """
    steps = np.diff(line, axis=0, prepend=2 * line[:1] - line[1:2])
    tangents = np.gradient(line, axis=0)
    # Where a line goes back on itself the steps before and after add up to nothing.
    turns = np.linalg.norm(tangents, axis=1) < 1e-6 * np.linalg.norm(steps, axis=1)
    tangents = np.where(turns[:, None], steps, tangents)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    # A ring's zero lies across the tangent and z; where those are parallel, across the tangent and y.
    steep = np.abs(tangents[:, 2:]) > 0.99
    across = np.cross(tangents, np.where(steep, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    upward = np.cross(across, tangents)
    angles = 2 * np.pi * np.arange(SIDES) / SIDES
    circle = np.stack([np.cos(angles), np.sin(angles)])[:, None, :, None]
    rings = line[:, None] + radius * (circle[0] * across[:, None] + circle[1] * upward[:, None])
    index = np.arange(SIDES * len(line)).reshape(len(line), SIDES)
    following = np.roll(index, -1, axis=1)
    quads = np.stack([index[:-1], index[1:], following[1:], following[:-1]], axis=-1)
    return rings.reshape(-1, 3), quads.reshape(-1, 4)
