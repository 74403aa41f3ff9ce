"""Local minima of a surface and their depth (persistence)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Minimum:
    """A local minimum of a surface.

    Attributes:
        index: position, as an index into the surface's arrays.
        value: the value at the minimum.
        depth: its persistence, the smallest climb that leads to a lower minimum; inf for the lowest.
    """

    index: tuple[int, ...]
    value: float
    depth: float


def local_minima(values: np.ndarray, depth: float = 0.0) -> list[Minimum]:
    """Local minima with a persistence of more than `depth`, deepest first.

    Diagonal points are neighbours too. The values are flooded from below: each minimum starts a basin, and where
    two basins meet, the one with the higher minimum ends; its depth is the height of the meeting point above its
    minimum (0-dimensional sublevel-set persistence; Edelsbrunner, Letscher, Zomorodian 2002). NaN points are walls.

    Args:
        values: the surface, of any number of dimensions; take the logarithm first to measure depth in ratios.
        depth: the minimum depth.
    """
    flat = values.reshape(-1)
    order = [int(i) for i in np.argsort(flat, kind="stable") if not np.isnan(flat[i])]
    basin = np.full(flat.size, -1, dtype=np.int64)  # parent in the union-find forest; roots are minima
    ended: list[Minimum] = []
    for point in order:
        roots = sorted(
            {_root(basin, n) for n in _neighbours(point, values.shape) if basin[n] >= 0},
            key=lambda r: flat[r],
        )
        basin[point] = roots[0] if roots else point
        for root in roots[1:]:
            basin[root] = roots[0]
            ended.append(_minimum(values, root, float(flat[point] - flat[root])))
    lowest = [_minimum(values, i, np.inf) for i in order if basin[i] == i]
    found = [m for m in (*lowest, *ended) if m.depth > depth]
    return sorted(found, key=lambda m: (-m.depth, m.value))


def _minimum(values: np.ndarray, flat_index: int, depth: float) -> Minimum:
    index = tuple(int(i) for i in np.unravel_index(flat_index, values.shape))
    return Minimum(index, float(values[index]), depth)


def _root(basin: np.ndarray, point: int) -> int:
    while basin[point] != point:
        basin[point] = basin[basin[point]]
        point = int(basin[point])
    return point


def _neighbours(point: int, shape: tuple[int, ...]) -> list[int]:
    here = np.unravel_index(point, shape)
    ranges = [range(max(0, int(i) - 1), min(n, int(i) + 2)) for i, n in zip(here, shape, strict=True)]
    near = (int(np.ravel_multi_index(index, shape)) for index in product(*ranges))
    return [n for n in near if n != point]
