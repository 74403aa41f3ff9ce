"""Points, their coordinates, and coarse before fine."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsweep.errors import ConfigError
from lsweep.grid import Axis, Grid

NUMS = st.lists(st.integers(1, 12), min_size=1, max_size=3)


def grid_of(nums: list[int]) -> Grid:
    """`nums` for x, y, z; bounds differ from axis to axis."""
    return Grid(*[Axis(-1.0 - i, 2.0 + i, n) for i, n in enumerate(nums)])


def test_y_is_axis_0() -> None:
    grid = Grid(Axis(0, 3, 4), Axis(10, 12, 3))
    assert grid.shape == (3, 4) and grid.size == 12 and grid.names == ("x", "y")
    x, y = grid.coordinates(np.arange(12)).T
    assert np.array_equal(x.reshape(3, 4), [[0, 1, 2, 3]] * 3)
    assert np.array_equal(y.reshape(3, 4).T, [[10, 11, 12]] * 4)


def test_a_box_has_z_first_and_x_fastest() -> None:
    grid = Grid(Axis(0, 1, 2), Axis(0, 2, 3), Axis(0, 3, 4))
    assert grid.shape == (4, 3, 2)
    expected = [(x, y, z) for z in range(4) for y in range(3) for x in range(2)]
    assert np.array_equal(grid.coordinates(np.arange(24)), expected)


@given(NUMS)
def test_coordinates_are_a_meshgrid(nums: list[int]) -> None:
    grid = grid_of(nums)
    mesh = np.meshgrid(*[axis.values for axis in reversed(grid.axes)], indexing="ij")
    flat = grid.coordinates(np.arange(grid.size))
    for column, expected in zip(flat.T, reversed(mesh), strict=True):
        assert np.array_equal(column.reshape(grid.shape), expected)


@given(NUMS, st.data())
def test_coordinates_of_some_points(nums: list[int], data: st.DataObject) -> None:
    grid = grid_of(nums)
    flat = np.array(data.draw(st.lists(st.integers(0, grid.size - 1), max_size=5)), dtype=np.int64)
    assert np.array_equal(grid.coordinates(flat), grid.coordinates(np.arange(grid.size))[flat])


@given(st.floats(-1e100, 1e100), st.floats(1e-3, 1e100), st.integers(2, 500))
def test_values_are_linspace(low: float, span: float, num: int) -> None:
    if low + span > low:
        values = Axis(low, low + span, num).values
        assert values.dtype == np.float64 and values[0] == low and values[-1] == low + span
        atol = 1e-15 * max(abs(low), low + span)
        np.testing.assert_allclose(values, np.linspace(low, low + span, num), rtol=0, atol=atol)


@pytest.mark.parametrize("bound", [1.0, 0.3, 0.05, 1e3])
def test_the_centre_is_zero(bound: float) -> None:
    assert all(Axis(-bound, bound, num).values[num // 2] == 0 for num in range(3, 402, 2))


def test_one_point() -> None:
    assert Axis(0.5, 0.5, 1).values.tolist() == [0.5]
    assert Grid(Axis(num=1)).levels().tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, 1, 0), "num >= 1"),
        ((1, 0, 3), "min <= max"),
        ((1, 1, 3), "min < max"),
        ((0, float("inf"), 3), "finite"),
        ((float("nan"), 1, 3), "finite"),
    ],
)
def test_impossible_axis(arguments: tuple[float, float, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Axis(*arguments)


def test_z_needs_y() -> None:
    with pytest.raises(ConfigError, match=r"grid\.z needs grid\.y"):
        Grid(Axis(), None, Axis())


@given(NUMS)
def test_every_level_completes_a_subgrid(nums: list[int]) -> None:
    grid = grid_of(nums)
    level = grid.levels().reshape(grid.shape)
    finest = int(level.max())
    steps = set()
    for so_far in range(finest + 1):
        there = level <= so_far
        indices = [
            np.flatnonzero(there.any(axis=tuple(set(range(there.ndim)) - {k}))) for k in range(there.ndim)
        ]
        assert there.sum() == np.prod([len(i) for i in indices])
        assert all(there[place] for place in itertools.product(*indices))
        for index in indices:
            assert index[0] == 0 and len(set(np.diff(index))) <= 1
            steps |= set(np.diff(index).tolist())
    assert (level <= finest).all() and all(step & (step - 1) == 0 for step in steps)


def test_levels_halve_the_step() -> None:
    assert Grid(Axis(num=9)).levels().tolist() == [0, 4, 3, 4, 2, 4, 3, 4, 1]
