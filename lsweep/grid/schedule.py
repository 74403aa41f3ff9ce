"""Schedule: a fixed partition of the grid into tiles, and their static or dynamic assignment to ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

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


class Work(Sequence[Tile]):
    """The tiles in the order in which they are taken; each is created on access.

    One of ten thousand ranks takes one in ten thousand tiles of a grid of millions; a list of all tiles would fill
    its memory.

    Args:
        order: the tiles' indices.
        pending: boolean, flat, of the whole grid.
        size: points per tile.
    """

    def __init__(self, order: np.ndarray, pending: np.ndarray, size: int) -> None:
        self._order, self._pending, self._size = order, pending, size

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, which: int) -> Tile: ...
    @overload
    def __getitem__(self, which: slice) -> Work: ...
    def __getitem__(self, which: int | slice) -> Tile | Work:
        """A tile, or a slice of the tiles in the same order."""
        if isinstance(which, slice):
            return Work(self._order[which], self._pending, self._size)
        index = int(self._order[which])
        start, stop = index * self._size, min((index + 1) * self._size, len(self._pending))
        return Tile(index, start + np.flatnonzero(self._pending[start:stop]), range(start, stop))

    def first(self, most: int) -> Work:
        """The first tiles that hold `most` pending points together, or slightly more because tiles are not split."""
        total = np.cumsum(_per_tile(np.add, self._pending.astype(np.int64), self._size)[self._order])
        return self[: int(np.searchsorted(total, most)) + 1]


def tiles(
    grid: Grid,
    pending: np.ndarray,
    size: int = 1,
    later: np.ndarray | None = None,
    levels: np.ndarray | None = None,
) -> Work:
    """Cut the grid into runs of `size` points and list those with pending points, coarse to fine.

    The partition depends only on the grid and `size`, so the joint results of a tile have the same bits on any rank
    and at any time. The level of a tile is that of its coarsest point.

    Args:
        grid: the grid.
        pending: boolean, flat (grid.size,).
        size: points per tile.
        later: boolean, flat; tiles that have no other pending points come last.
        levels: integer, flat; points of low level are evaluated first; by default `Grid.levels`.
    """
    now = pending if later is None else pending & ~later
    found = np.flatnonzero(_per_tile(np.logical_or, pending, size))
    is_late = ~_per_tile(np.logical_or, now, size)[found]
    level = _per_tile(np.minimum, grid.levels() if levels is None else levels, size)[found]
    return Work(found[np.lexsort((found, level, is_late))], pending, size)


def static_cyclic(work: Sequence[Tile], rank: int, size: int) -> Sequence[Tile]:
    """Assign the tiles cyclically: rank r takes r, r + size, r + 2·size, …

    Needs no communication. Grid points cost the same, so the load is balanced to within one tile.
    """
    return work[rank::size]


def dynamic(work: Sequence[Tile], take: Callable[[], int]) -> Iterator[Tile]:
    """Yield the next unclaimed tile, which balances ranks of different speed.

    Args:
        work: the same on every rank.
        take: returns the next number of a counter that all ranks share; see `lsweep.comm.shared_counter`.
    """
    while (ticket := take()) < len(work):
        yield work[ticket]


def _per_tile(combine: np.ufunc, values: np.ndarray, size: int) -> np.ndarray:
    """One number per tile of the grid, (tiles,)."""
    combined: np.ndarray = combine.reduceat(values, np.arange(0, len(values), size))
    return combined
