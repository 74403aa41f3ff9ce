"""Where to look next: against functions whose values between the points are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from launch import ROOT

from lsweep.errors import ConfigError
from lsweep.grid import Axis, Grid, Refine
from lsweep.grid.hierarchy import interpolate
from lsweep.grid.refine import is_judged, plan
from lsweep.store.reader import read

RECORDED = ROOT / "results" / "figures" / "li2018_resnet56"


def grid(*numbers: int, tolerance: float = 0.02, levels: tuple[float, ...] = (), low: float = -1.0) -> Grid:
    """Axes from `low` to 1, x first."""
    return Grid(*(Axis(low, 1.0, n) for n in numbers), refine=Refine(tolerance, levels))  # type: ignore[misc]


def values(where: Grid, f: Callable[..., np.ndarray]) -> np.ndarray:
    """f(x, y, …) at all points, (1, size)."""
    return f(*where.coordinates(np.arange(where.size)).T)[None]


def rounds(
    where: Grid, truth: np.ndarray, done: np.ndarray | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Evaluate as asked until nothing more is asked for; the final mask, and what each round asked for."""
    done = np.zeros(where.size, dtype=bool) if done is None else done.copy()
    asked = []
    while True:
        new = plan(where, np.where(done, truth, np.nan), done) & ~done
        if not new.any():
            return done, asked
        asked.append(np.flatnonzero(new))
        done |= new


def errors(where: Grid, truth: np.ndarray, done: np.ndarray) -> np.ndarray:
    """Relative errors of the interpolated points, for each loss."""
    found = []
    for losses in truth:
        known = done.reshape(where.shape)
        filled = interpolate(np.where(done, losses, np.nan).reshape(where.shape), known, log=True)
        found.append(np.abs(filled.reshape(-1)[~done] / losses[~done] - 1))
    return np.concatenate(found)


SMOOTH: dict[str, Callable[..., np.ndarray]] = {
    "quadratic in the logarithm": lambda x, y: np.exp(2 * x**2 + y**2 + x * y),
    "bowl": lambda x, y: 0.05 + 3 * x**2 + y**2,
    "sharp bowl": lambda x, y: 1e-3 + np.hypot(x, y) ** 0.5,
    "sharp bowl off the centre": lambda x, y: 0.01 + np.hypot(x - 0.31, y + 0.17) ** 1.2,
    "ridge": lambda x, y: 1 + 5 * np.exp(-(((x - y / 2 - 0.1) / 0.07) ** 2)),
    "kink": lambda x, y: 0.1 + np.abs(np.hypot(x, y) - 0.6),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("numbers", [(51, 51), (101, 64), (40, 133)])
def test_interpolated_points_are_within_the_tolerance(name: str, numbers: tuple[int, int]) -> None:
    where = grid(*numbers)
    truth = values(where, SMOOTH[name])
    done, _ = rounds(where, truth)
    off = errors(where, truth, done)
    assert done.mean() < 0.55
    assert np.percentile(off, 95) < 0.02 and off.max() < 0.06
    if "bowl" in name or "logarithm" in name:
        assert done.mean() < 0.2 and off.max() < 0.02


def test_the_centre_is_resolved_though_no_coarse_point_is_near() -> None:
    """A hole of three points' width at the origin of a flat plane: the coarse lattice of stride 8 misses it."""
    where = grid(103, 103)
    truth = values(where, lambda x, y: 1 - 0.99 * np.exp(-(x**2 + y**2) / 0.0006))
    done, _ = rounds(where, truth)
    assert done.reshape(where.shape)[49:54, 49:54].all()
    assert errors(where, truth, done).max() < 0.02
    assert done.mean() < 0.1


def test_noise_is_evaluated_everywhere() -> None:
    where = grid(53, 41)
    truth = np.exp(np.random.default_rng(0).normal(size=(1, where.size)))
    assert rounds(where, truth)[0].all()


@pytest.mark.parametrize("numbers", [(1,), (2,), (9,), (1, 1), (2, 2), (3, 3), (15, 1), (16, 16), (5, 4, 3)])
def test_small_grids_are_evaluated_whole_in_one_round(numbers: tuple[int, ...]) -> None:
    where = grid(*numbers)
    done, asked = rounds(where, np.ones((1, where.size)))
    assert done.all() and len(asked) == 1


@pytest.mark.parametrize(
    ("numbers", "most"),
    [((401,), 0.15), ((1, 300), 0.15), ((33, 33, 33), 0.1), ((70, 3), 0.65), ((20, 17, 2), 1.0)],
)
def test_one_two_and_three_axes(numbers: tuple[int, ...], most: float) -> None:
    where = grid(*numbers)
    truth = values(where, lambda *c: 0.01 + sum(x**2 for x in c) ** 0.6)
    done, _ = rounds(where, truth)
    assert done.mean() <= most
    off = errors(where, truth, done)
    assert off.max(initial=0) < 0.03


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -2.0])
def test_beside_what_has_no_logarithm_all_is_evaluated(bad: float) -> None:
    where = grid(60, 45)
    truth = values(where, lambda x, y: np.where(x + 0.3 * y > 0.5, bad, 0.1 + x**2 + y**2))
    done, _ = rounds(where, truth)
    good = np.isfinite(truth[0]) & (truth[0] > 0)
    assert done[~good].all()
    picture, mask = done.reshape(where.shape), good.reshape(where.shape)
    beside = mask[:, :-1] & ~mask[:, 1:]
    assert picture[:, :-1][beside].all()
    assert done[good].mean() < 0.35
    assert errors(where, truth, done).max() < 0.02


def test_a_failed_point_is_no_hole_in_the_plan() -> None:
    """It counts as looked at, and its neighbours are evaluated."""
    where = grid(49, 49)
    truth = values(where, lambda x, y: 1 + x**2 + y**2)
    failed = 24 * 49 + 16
    truth[0, failed] = np.nan
    done, _ = rounds(where, truth)
    assert done.reshape(where.shape)[23:26, 15:18].all()
    assert done.mean() < 0.2


def test_the_worst_of_several_losses_counts() -> None:
    where = grid(51, 51)
    smooth = values(where, lambda x, y: np.exp(x))
    ridge = values(where, SMOOTH["ridge"])
    alone, both = rounds(where, ridge)[0], rounds(where, np.concatenate([smooth, ridge]))[0]
    assert (alone == both).all()
    assert (rounds(where, smooth)[0] <= both).all()
    assert [
        n
        for n in ("loss", "loss_test", "accuracy", "loss_stderr", "loss_stderr_test", "lossy")
        if is_judged(n)
    ] == [
        "loss",
        "loss_test",
    ]


def test_a_tighter_tolerance_evaluates_more() -> None:
    shares = []
    for tolerance in (0.2, 0.05, 0.01, 0.001):
        where = grid(101, 101, tolerance=tolerance)
        truth = values(where, SMOOTH["ridge"])
        done, _ = rounds(where, truth)
        assert np.percentile(errors(where, truth, done), 95) < tolerance
        shares.append(done.mean())
    assert shares == sorted(shares)


def test_contour_levels_are_looked_at_more_closely() -> None:
    """On a shallow slope an error within the tolerance moves a contour line by many cells."""
    lines = (1.0,)
    plain, close = grid(101, 101, tolerance=0.1), grid(101, 101, tolerance=0.1, levels=lines)
    truth = values(plain, lambda x, y: np.exp(0.1 * x + 0.03 * np.sin(12 * x) * np.sin(9 * y)))
    before, after = rounds(plain, truth)[0], rounds(close, truth)[0]
    extra = after & ~before
    assert extra.sum() > 100 and after.mean() < 0.6
    assert np.median(np.abs(np.log(truth[0, extra]))) < np.median(np.abs(np.log(truth[0])))

    def near_the_line(done: np.ndarray) -> float:
        band = np.abs(np.log(truth[0])) < 0.01
        off = np.zeros(plain.size)
        off[~done] = errors(plain, truth, done)
        return float(off[band].mean())

    assert near_the_line(after) < near_the_line(before) / 3


def test_a_grid_without_the_origin() -> None:
    where = grid(60, 50, low=0.5)
    truth = values(where, lambda x, y: np.exp(x + y))
    done, asked = rounds(where, truth)
    assert (done == (plan(where, truth, done))).all() and len(asked) == 1 and done.mean() < 0.12


CASES = {
    "sharp": (grid(35, 33), SMOOTH["sharp bowl off the centre"]),
    "nan": (grid(33, 21), lambda x, y: np.where(x > 0.4, np.nan, 0.1 + np.abs(x - y))),
    "line": (grid(150), lambda x: 0.01 + np.abs(x - 0.2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_interrupted_after_any_number_of_points_it_evaluates_the_same(name: str) -> None:
    """In the middle of any round, whatever the ranks had got done of it."""
    where, f = CASES[name]
    truth = values(where, f)
    whole, asked = rounds(where, truth)
    assert len(asked) > 3
    mixed = [np.random.default_rng(k).permutation(points) for k, points in enumerate(asked)]
    order = np.concatenate(mixed)
    assert len(order) == whole.sum()
    ends = np.cumsum([len(points) for points in asked])
    for count in range(len(order)):
        done = np.zeros(where.size, dtype=bool)
        done[order[:count]] = True
        rest = plan(where, np.where(done, truth, np.nan), done) & ~done
        # The rest of the very round that was interrupted, no more and no less.
        current = int(np.searchsorted(ends, count, side="right"))
        assert sorted(np.flatnonzero(rest)) == sorted(order[count : ends[current]])
    assert not (plan(where, np.where(whole, truth, np.nan), whole) & ~whole).any()


@pytest.mark.parametrize("name", ["resnet56", "resnet56_noshort"])
@pytest.mark.parametrize("tolerance", [0.01, 0.02, 0.05, 0.1])
def test_the_papers_networks(name: str, tolerance: float) -> None:
    """Their recorded surfaces as the truth. Without shortcuts it is rough down to its points: little is saved."""
    surface = read(RECORDED / f"{name}.h5")
    where = grid(41, 41, tolerance=tolerance)
    truth = surface.loss.reshape(1, -1)
    done, _ = rounds(where, truth)
    if name == "resnet56":
        assert done.mean() < {0.01: 0.62, 0.02: 0.42, 0.05: 0.27, 0.1: 0.22}[tolerance]
    off = errors(where, truth, done)
    if len(off):
        assert np.percentile(off, 95) <= 2 * tolerance
        assert np.median(off) <= 0.6 * tolerance


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_none(bad: float) -> None:
    with pytest.raises(ConfigError, match="tolerance must be > 0 and < 1"):
        Refine(bad)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_levels_that_are_none(bad: float) -> None:
    with pytest.raises(ConfigError, match="levels must be losses"):
        Refine(levels=(1.0, bad))
