"""Who evaluates which tile: a fixed partition of the grid, coarse to fine, dealt in turn or on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lsweep.grid import Grid


@dataclass(frozen=True)
class Tile:
    """A run of consecutive points that one rank takes at once.

    Attributes:
        index: which tile of the partition it is.
        points: (k,) int64 flat indices of its pending points, increasing.
        whole: flat indices of all its points, pending or not.
    """

    index: int
    points: np.ndarray
    whole: range


def tiles(grid: Grid, pending: np.ndarray, size: int = 1) -> list[Tile]:
    """Cut the grid into runs of `size` points and list those with pending points, coarse to fine.

    The partition depends on the grid and `size` alone, so whatever a tile computes jointly has the same bits
    whoever computes it and whenever. A tile is as coarse as its coarsest point.

    Args:
        grid: the grid.
        pending: boolean, flat (grid.size,).
        size: points per tile.
    """
    level = grid.levels()
    found = []
    for index in np.unique(np.flatnonzero(pending) // size):
        start, stop = index * size, min((index + 1) * size, grid.size)
        points = start + np.flatnonzero(pending[start:stop])
        found.append((int(level[start:stop].min()), Tile(int(index), points, range(start, stop))))
    found.sort(key=lambda item: (item[0], item[1].index))
    return [tile for _, tile in found]


def static_cyclic(work: list[Tile], rank: int, size: int) -> list[Tile]:
    """Deal the tiles in turn: rank r takes r, r + size, r + 2·size, …

    Needs no communication; grid points cost the same, so it balances to within one tile.
    """
    return work[rank::size]


def dynamic(work: list[Tile], take: Callable[[], int]) -> Iterator[Tile]:
    """Whatever tile is next, to whoever asks first: balances ranks of unlike speed.

    Args:
        work: the same list on every rank.
        take: a number from a counter that all ranks share, each number once; see `lsweep.tickets`.
    """
    while (ticket := take()) < len(work):
        yield work[ticket]
