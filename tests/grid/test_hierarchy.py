"""Interpolation on nested lattices against functions that it must reproduce."""

from __future__ import annotations

import numpy as np
import pytest

from lsweep.grid.hierarchy import LEAST, coarsest, hierarchy_levels, interpolate

SHAPES = [(1,), (2,), (17,), (50,), (101,), (41, 41), (1, 60), (37, 20), (3, 70), (2, 2), (17, 19, 34)]


def cubic(shape: tuple[int, ...]) -> np.ndarray:
    """Of degree three along each axis, and no less in between."""
    total = np.ones(shape)
    for axis, n in enumerate(shape):
        t = np.linspace(-1.0, 1.3, n).reshape([-1 if k == axis else 1 for k in range(len(shape))])
        total = total * (0.5 + t - 0.7 * t**2 + 0.3 * t**3 + 0.1 * axis)
    return total


def coarse(shape: tuple[int, ...]) -> np.ndarray:
    """The points that every refined sweep begins with, boolean."""
    known = np.zeros(shape, dtype=bool)
    known[np.ix_(*coarsest(shape))] = True
    for step in hierarchy_levels(shape):
        if step.whole:
            known[np.ix_(*step.after)] = True
    return known


@pytest.mark.parametrize("shape", SHAPES)
def test_every_point_is_new_once(shape: tuple[int, ...]) -> None:
    seen = np.zeros(shape, dtype=int)
    seen[np.ix_(*coarsest(shape))] += 1
    before = coarsest(shape)
    for step in hierarchy_levels(shape):
        assert all((a == b).all() for a, b in zip(before, step.before, strict=True))
        seen[np.ix_(*step.points)] += 1
        before = step.after
    assert (seen == 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_coarse_lattice_has_enough_intervals_and_both_ends(shape: tuple[int, ...]) -> None:
    known = coarse(shape)
    for axis, n in enumerate(shape):
        line = np.flatnonzero(known.any(axis=tuple(k for k in range(len(shape)) if k != axis)))
        assert line[0] == 0 and line[-1] == n - 1
        assert len(line) > min(n - 1, LEAST)
        assert len(line) <= 2 * LEAST + 2


@pytest.mark.parametrize("shape", SHAPES)
def test_cubics_are_exact_in_the_logarithm(shape: tuple[int, ...]) -> None:
    truth = np.exp(cubic(shape))
    known = coarse(shape)
    filled = interpolate(np.where(known, truth, np.nan), known, log=True)
    np.testing.assert_allclose(filled, truth, rtol=1e-12)
    np.testing.assert_array_equal(filled[known], truth[known])


def test_known_points_serve_their_neighbours() -> None:
    """A kink that was evaluated is in the stencils of the steps after."""
    truth = 1 + np.abs(np.arange(65) - 32.0)
    known = coarse((65,))
    blind = interpolate(np.where(known, truth, np.nan), known, log=False)
    known[28:37] = True
    better = interpolate(np.where(known, truth, np.nan), known, log=False)
    assert np.abs(better - truth).max() < 0.2 < np.abs(blind - truth).max()


def test_without_log_nothing_leaves_the_known_range() -> None:
    truth = (np.arange(49) > 20).astype(float)
    known = coarse((49,))
    filled = interpolate(np.where(known, truth, np.nan), known, log=False)
    assert filled.min() == 0.0 and filled.max() == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_what_is_no_logarithm_is_never_used(bad: float) -> None:
    truth = np.exp(cubic((65,)))
    known = coarse((65,))
    truth[32] = bad
    assert known[32]
    filled = interpolate(np.where(known, truth, np.nan), known, log=True)
    near = np.isnan(filled)
    stride = int(np.diff(np.flatnonzero(known))[0])
    assert near[32 - stride + 1 : 32].all() and near[33 : 32 + stride].all()
    assert near.sum() <= 2 * (stride - 1) + 1
    np.testing.assert_equal(filled[32], bad)


def test_half_a_sweep_is_filled_as_far_as_it_goes() -> None:
    truth = np.exp(cubic((41, 41)))
    known = coarse((41, 41))
    known[20:] = False
    filled = interpolate(np.where(known, truth, np.nan), known, log=True)
    assert np.isfinite(filled[:17]).all()
    assert np.isnan(filled[-1]).all()


def test_nothing_known() -> None:
    for log in (True, False):
        assert np.isnan(interpolate(np.full((33, 20), np.nan), np.zeros((33, 20), bool), log=log)).all()
