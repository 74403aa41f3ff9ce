"""Thin tubes along lines, because other programs draw lines one pixel wide or not at all. Numpy only."""

from __future__ import annotations

import numpy as np

SIDES = 8


def tube(line: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Rings around the points of a line, and outward-facing quadrilaterals between them; open at the ends.

    Args:
        line: (k, 3), k ≥ 2, without equal consecutive points.
        radius: of the tube.

    Returns:
        Points, (SIDES * k, 3), and quadrilaterals as indices of points, (SIDES * (k - 1), 4).
    """
    steps = np.diff(line, axis=0, prepend=2 * line[:1] - line[1:2])
    tangents = np.gradient(line, axis=0)
    # Where a line reverses its direction, the steps before and after cancel.
    turns = np.linalg.norm(tangents, axis=1) < 1e-6 * np.linalg.norm(steps, axis=1)
    tangents = np.where(turns[:, None], steps, tangents)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    # A ring starts perpendicular to the tangent and to z, or to y if the tangent is parallel to z.
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
