"""Who evaluates what: everything once, coarse first, whoever asks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsweep.grid import Axis, Grid
from lsweep.grid.schedule import static_cyclic, tiles

GRIDS = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(
    lambda nums: Grid(*[Axis(num=n) for n in nums])
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Grid, np.ndarray, int]:
    """A grid, what is pending, and a tile size."""
    grid = draw(GRIDS)
    pending = np.random.default_rng(draw(st.integers(0, 99))).random(grid.size) < draw(
        st.sampled_from([0, 0.3, 1])
    )
    return grid, pending, draw(st.integers(1, 12))


@given(cases(), st.integers(1, 7))
def test_all_tickets_of_all_ranks_are_the_pending_points(
    case: tuple[Grid, np.ndarray, int], ranks: int
) -> None:
    grid, pending, size = case
    work = tiles(grid, pending, size)
    dealt = [p for rank in range(ranks) for tile in static_cyclic(work, rank, ranks) for p in tile.points]
    assert sorted(dealt) == np.flatnonzero(pending).tolist()


@given(cases())
def test_tiles_are_the_grid_s_whatever_is_pending(case: tuple[Grid, np.ndarray, int]) -> None:
    grid, pending, size = case
    whole = {tile.index: set(tile.points) for tile in tiles(grid, np.ones(grid.size, bool), size)}
    for tile in tiles(grid, pending, size):
        assert set(tile.points) <= whole[tile.index] and len(tile.points)
        assert np.array_equal(tile.points, np.sort(tile.points)) and set(tile.points // size) == {tile.index}


@given(GRIDS)
def test_coarse_to_fine(grid: Grid) -> None:
    order = np.concatenate([tile.points for tile in tiles(grid, np.ones(grid.size, bool))])
    assert (np.diff(grid.levels()[order]) >= 0).all()


@given(cases(), st.integers(0, 99))
def test_what_comes_later_comes_last(case: tuple[Grid, np.ndarray, int], seed: int) -> None:
    grid, pending, size = case
    later = np.random.default_rng(seed).random(grid.size) < 0.5
    order = [bool(later[tile.points].all()) for tile in tiles(grid, pending, size, later)]
    assert order == sorted(order)


@given(cases(), st.integers(1, 20))
def test_the_first_so_many_points(case: tuple[Grid, np.ndarray, int], most: int) -> None:
    grid, pending, size = case
    work = tiles(grid, pending, size)
    some = work.first(most)
    assert [tile.index for tile in some] == [tile.index for tile in work][: len(some)]
    points = [len(tile.points) for tile in some]
    assert sum(points) >= min(most, pending.sum())
    assert not points or sum(points[:-1]) < most


def test_a_million_points_are_listed_at_once() -> None:
    """Without a thousand million bytes of tiles, and within a second or so."""
    grid = Grid(Axis(num=1001), Axis(num=1001))
    work = tiles(grid, np.ones(grid.size, bool))
    assert len(static_cyclic(work, 9_999, 10_000)) == 100
    assert work[0].points.tolist() == [0]


@given(cases(), st.integers(1, 7))
def test_balanced_to_within_one(case: tuple[Grid, np.ndarray, int], ranks: int) -> None:
    work = tiles(*case)
    shares = [len(static_cyclic(work, rank, ranks)) for rank in range(ranks)]
    assert max(shares) - min(shares) <= 1


def test_an_order_of_one_s_own() -> None:
    """Points of one level keep the grid's order; a tile is as early as its earliest point."""
    grid = Grid(Axis(num=6))
    levels = np.array([5, 4, 9, 0, 1, 1])
    pending = np.array([True, True, True, False, True, True])
    ones = tiles(grid, pending, levels=levels)
    assert [int(tile.points[0]) for tile in ones] == [4, 5, 1, 0, 2]
    pairs = tiles(grid, np.ones(6, bool), 2, levels=levels)
    assert [tile.index for tile in pairs] == [1, 2, 0]
