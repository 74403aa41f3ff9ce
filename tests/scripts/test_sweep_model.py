"""The model of a sweep on many ranks, against closed forms."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from launch import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "benchmarks"))
from sweep_model import Costs, Plan, saturation, simulate

ALL = [(kind, mode) for kind in ("static", "dynamic") for mode in ("gather", "mpio")]


def equal(points: int, seconds: float = 1.0) -> np.ndarray:
    return np.full(points, seconds)


@pytest.mark.parametrize(("kind", "mode"), ALL)
def test_without_costs_nothing_is_lost(kind: str, mode: str) -> None:
    found = simulate(Plan(7, kind, mode), Costs(), equal(7 * 13))
    assert found.makespan == pytest.approx(13.0)
    assert found.efficiency == pytest.approx(1.0)
    assert set(found.busy.values()) == {0.0}


@pytest.mark.parametrize(("kind", "mode"), ALL)
def test_the_last_points_leave_ranks_idle(kind: str, mode: str) -> None:
    found = simulate(Plan(10, kind, mode), Costs(), equal(101))
    assert found.makespan == pytest.approx(11.0)
    assert found.efficiency == pytest.approx(101 / 110)


def test_one_rank_pays_every_step_in_turn() -> None:
    """A batch closes when it has been open for five seconds: at 6, 12 and 18 points of a second, and at the end."""
    costs = Costs(engine=0.0, commit=0.25, point=0.125)
    for mode in ("gather", "mpio"):
        found = simulate(Plan(1, mode=mode), costs, equal(20))
        assert found.makespan == pytest.approx(20 + 4 * 0.25 + 20 * 0.125)


def test_the_counter_serves_one_rank_at_a_time() -> None:
    """A thousand ranks draw faster than it can count: 1 / ticket numbers a second, whatever the points take."""
    ticket, points = 0.01, 20_000
    found = simulate(Plan(1000, "dynamic"), Costs(ticket=ticket), equal(points))
    assert found.makespan == pytest.approx(ticket * points, rel=0.06)
    assert found.busy["counter"] == pytest.approx(1.0, abs=0.06)
    assert saturation(Costs(ticket=ticket), "mpio", 1.0, 5.0)["counter"] == pytest.approx(100)
    few = simulate(Plan(50, "dynamic"), Costs(ticket=ticket), equal(points))
    assert few.efficiency > 0.99  # the next number comes during a point


def test_the_file_system_serves_one_rank_at_a_time() -> None:
    """Every point is a batch, for want of patience."""
    costs = Costs(commit=0.01, file_system=0.01)
    found = simulate(Plan(500, sync_seconds=0.0), costs, equal(10_000))
    assert found.makespan == pytest.approx(0.01 * 10_000, rel=0.02)
    assert found.busy["file system"] == pytest.approx(1.0, abs=0.02)
    assert saturation(costs, "mpio", 1.0, 0.0)["file system"] == pytest.approx(100)
    few = simulate(Plan(50, sync_seconds=0.0), costs, equal(10_000))
    # They find their turns, one after another, and then nobody waits.
    assert few.efficiency == pytest.approx(1 / 1.01, rel=0.01)


def test_rank_0_receives_between_its_own_points() -> None:
    """With more mail than it can read it is never idle: its points, and a message for every point of the others."""
    message, ranks, points = 0.01, 400, 8000
    found = simulate(Plan(ranks, mode="gather", sync_seconds=0.0), Costs(message=message), equal(points))
    own = points / ranks
    assert found.makespan == pytest.approx(own + message * (points - own), rel=0.01)
    assert saturation(Costs(message=message), "gather", 1.0, 0.0)["rank 0"] == pytest.approx(100)


def test_rank_0_writes_together_what_arrives_together() -> None:
    """Two commits in five seconds, however many ranks send: not one for each of their batches."""
    costs = Costs(commit=0.05)
    found = simulate(Plan(100, mode="gather"), costs, equal(100 * 100, 0.1))
    commits = found.busy["rank 0"] * found.makespan / costs.commit
    assert commits <= 2 * found.makespan / 5 + 4


def test_dynamic_beats_static_where_points_differ() -> None:
    """List scheduling with one number claimed ahead: at most two of the longest points behind the ideal."""
    seconds = np.random.default_rng(0).gamma(1.0, 1.0, 3000)
    static, dynamic = (simulate(Plan(30, kind), Costs(), seconds) for kind in ("static", "dynamic"))
    assert dynamic.makespan <= seconds.sum() / 30 + 2 * seconds.max()
    assert dynamic.efficiency > static.efficiency
    assert static.makespan == pytest.approx(max(seconds[rank::30].sum() for rank in range(30)))


def test_saturation_counts_what_each_point_and_batch_cost() -> None:
    costs = Costs(commit=0.25, point=0.001, message=0.01)
    # Of every 2.5 s a commit leaves 2.25; a rank takes 0.01 for its message and 0.001 for each of 25 points.
    assert saturation(costs, "gather", 0.1, 5.0)["rank 0"] == pytest.approx(2.25 / 0.035)
    assert saturation(Costs(), "mpio", 0.1, 5.0) == {
        "rank 0": np.inf,
        "file system": np.inf,
        "counter": np.inf,
    }
