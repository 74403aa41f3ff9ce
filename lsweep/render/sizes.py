"""Sizes of a figure and its panels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsweep.errors import InputError
from lsweep.surface import Surface

PANEL_WIDTHS = {1: 4.6, 2: 3.7}  # inches, by number of panels; for more see NARROW
NARROW = 3.2
LEAST, MOST = 0.75, 1.6  # bounds on a panel's width relative to the mean, to leave room for all titles


def figure_size(
    kind: str, surfaces: Sequence[Surface], width: float | None
) -> tuple[tuple[float, float], list[float]]:
    """Width and height of a figure in inches, and the widths of its panels relative to their mean.

    Planes are drawn with equal units; those of different proportions get widths that make their heights about equal.
    Raises InputError for an invalid width.
    """
    if width is not None and not 0.5 <= width <= 100:
        raise InputError(f"width must be 0.5 to 100 inches, got {width}", key="width")
    wide = width or PANEL_WIDTHS.get(len(surfaces), NARROW) * len(surfaces)
    panel = wide / len(surfaces)
    alike = [1.0] * len(surfaces)
    if kind == "line":
        return (wide, max(0.72 * panel, 1.5) + 0.3), alike
    if kind == "scene":
        return (wide, 0.78 * panel + 0.2), alike
    if kind == "surface":
        return (wide, 0.74 * panel + 0.12), alike
    ratios = np.array([_ratio(surface) for surface in surfaces])
    widths = np.clip((1 / ratios) / (1 / ratios).mean(), LEAST, MOST)
    widths /= widths.mean()
    return (wide, float((ratios * widths).max()) * 0.9 * panel + 0.45), [float(w) for w in widths]


def _ratio(surface: Surface) -> float:
    """Height by width of a plane drawn with equal units, or of a slightly wide panel if that is too thin."""
    if surface.ndim < 2:
        return 0.8
    x, y = (float(axis[-1]) - float(axis[0]) for axis in (surface.x, surface.y))
    if min(x, y) == 0:
        return 0.8
    ratio = y / x
    return ratio if 1 / 3 <= ratio <= 3 else 0.8
