"""Contour lines and bands of a plane, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from contourpy import FillType, LineType, contour_generator
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.contour import ContourSet
from matplotlib.path import Path

from lsweep.render.field import Field
from lsweep.render.scale import Scale

SHORTEST = 0.4  # minimum length of a line with a label, in units of the panel's width, like the next three
APART = 0.13  # minimum distance between two labels
MARGIN = 0.07  # minimum distance between a label and the panel's edge
CLEAR = 0.016  # minimum distance between the centre of a label and another line
CHOICES, MOST_OTHERS = 80, 20_000  # positions tried per line, maximum number of points of other lines checked


def lines(ax: Axes, field: Field, scale: Scale, levels: np.ndarray, **style: Any) -> ContourSet | None:
    """Draw the contour lines of the levels that occur; None if none does.

    `ax.contour` interpolates values, which on a log scale crowds all lines of a steep cell into its lowest
    corner. Therefore the lines are computed in log10 here, and matplotlib receives the finished geometry.
    """
    generator = _generator(field, scale, line_type=LineType.SeparateCode)
    found = [(level, *generator.lines(at)) for level, at in zip(levels, scale.linear(levels), strict=True)]
    found = [entry for entry in found if entry[1]]
    if not found:
        return None
    heights, segments, codes = zip(*found, strict=True)
    return ContourSet(ax, list(heights), list(segments), list(codes), norm=scale.norm(), **style)


def bands(ax: Axes, field: Field, scale: Scale, levels: np.ndarray, cmap: Colormap) -> ContourSet | None:
    """Fill between consecutive levels; None if nothing is finite. Computed like `lines`."""
    generator = _generator(field, scale, fill_type=FillType.OuterCode)
    at = scale.linear(levels)
    # Values at or beyond the ends belong to the first and last band.
    low, high = scale.linear(np.array([scale.lo, scale.hi]))
    at[0], at[-1] = min(at[0], low) - 1e-6, max(at[-1], high) + 1e-6
    found = [generator.filled(low, high) for low, high in pairwise(at)]
    if not any(segments for segments, _ in found):
        return None
    segments, codes = zip(*found, strict=True)
    return ContourSet(
        ax, list(levels), list(segments), list(codes), filled=True, cmap=cmap, norm=scale.norm()
    )


def labels(ax: Axes, drawn: ContourSet, write: Any, size: float) -> None:
    """Label each level once or twice, where its line is long and no other label is near.

    matplotlib labels every piece of every line, which covers the panel on a chaotic surface. The gap for a label is
    cut in pixels, so call this when the layout of the figure is final.
    """
    ax.apply_aspect()
    places: list[np.ndarray] = []
    spots: list[tuple[float, float]] = []
    levels = pieces(drawn)
    crowd = [_in_panel(ax, np.concatenate([_dense(s) for s in segments])) for segments in levels]
    for k, segments in enumerate(levels):
        others = np.concatenate([points for j, points in enumerate(crowd) if j != k] or [np.empty((0, 2))])
        for segment in _longest(ax, segments)[:2]:
            spot = _free_spot(ax, segment, places, others)
            if spot is not None:
                places.append(_in_panel(ax, spot))
                spots.append((float(spot[0]), float(spot[1])))
    if spots:
        drawn.clabel(fmt=write, fontsize=size, inline=True, inline_spacing=2, manual=spots)


def pieces(drawn: ContourSet) -> list[list[np.ndarray]]:
    """The lines of each level, (n, 2) each. (`ContourSet.allsegs` is the same but deprecated.)"""
    paths = [(path.vertices, np.asarray(path.codes)) for path in drawn.get_paths()]
    return [np.split(points, np.flatnonzero(codes == Path.MOVETO)[1:]) for points, codes in paths]


def _generator(field: Field, scale: Scale, **kind: Any) -> Any:
    heights: Any = np.ma.masked_invalid(scale.linear(scale.drawn(field.values)))
    x, y = field.axes
    return contour_generator(x, y, heights, name="serial", corner_mask=True, **kind)


def _in_panel(ax: Axes, points: np.ndarray) -> np.ndarray:
    """Points in fractions of the panel's width, (…, 2)."""
    pixels = ax.transData.transform(points) - ax.bbox.min
    return pixels / ax.bbox.width


def _longest(ax: Axes, segments: Sequence[Any]) -> list[np.ndarray]:
    """The pieces of a line that are long enough for a label, longest first."""
    arrays = [np.asarray(segment) for segment in segments]
    lengths = [float(np.linalg.norm(np.diff(_in_panel(ax, s), axis=0), axis=1).sum()) for s in arrays]
    order = sorted(range(len(arrays)), key=lambda k: -lengths[k])
    return [arrays[k] for k in order if lengths[k] >= SHORTEST]


def _free_spot(
    ax: Axes, segment: np.ndarray, places: list[np.ndarray], others: np.ndarray
) -> np.ndarray | None:
    """The position farthest from labels, the panel's edge and other lines, or None if all are too near."""
    spots = _along(segment)
    points = _in_panel(ax, spots)
    height = ax.bbox.height / ax.bbox.width
    margin = np.minimum(points, np.array([1.0, height]) - points).min(axis=1)
    room = _nearest(points, np.array(places).reshape(-1, 2))
    clear = _nearest(points, others[:: 1 + len(others) // MOST_OTHERS])
    good = (margin >= MARGIN) & (room >= APART) & (clear >= CLEAR)
    # Without a preferred corner, the first labels of nested rings would all be where contourpy starts.
    score = room + 3 * np.minimum(clear, 2 * CLEAR) + 0.05 * points.sum(axis=1)
    best = int(np.where(good, score, -1.0).argmax())
    return spots[best] if good[best] else None


def _along(segment: np.ndarray) -> np.ndarray:
    """Equally spaced points on a line of (n, 2) vertices: (CHOICES, 2)."""
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(segment, axis=0), axis=1).cumsum()])
    at = np.linspace(0.0, length[-1], CHOICES)
    return np.stack([np.interp(at, length, segment[:, k]) for k in (0, 1)], axis=1)


def _dense(points: np.ndarray) -> np.ndarray:
    """A line's (n, 2) vertices with points between them, which a label could cover on a coarse grid."""
    t = np.arange(4)[:, None] / 4
    between: np.ndarray = points[:-1, None] * (1 - t) + points[1:, None] * t
    return np.concatenate([between.reshape(-1, 2), points[-1:]])


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The distance from each of (n, 2) points to the nearest of (m, 2) others, at most 1."""
    if not len(others):
        return np.ones(len(points))
    return np.minimum(np.hypot(*(points[:, None] - others[None]).transpose(2, 0, 1)).min(axis=1), 1.0)
