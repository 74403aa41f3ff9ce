"""How far a sweep is, told from arrays alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsweep.surface import Status, Surface
from lsweep.watch import status
from lsweep.watch.status import describe

SESSION = {
    "job": "42",
    "ranks": 2,
    "hosts": "node1,node2",
    "mode": "mpio",
    "start": 1000.0,
    "stop": 1010.0,
    "points": 5,
}


def surface(*states: int, sessions: tuple[dict[str, Any], ...] = (), loss: Any = None) -> Surface:
    """A plane of two rows."""
    state = np.array(states, dtype=np.uint8).reshape(2, -1)
    axes = {"x": np.linspace(-1, 1, state.shape[1]), "y": np.array([0.0, 0.5])}
    values = np.where(state == 1, np.arange(state.size).reshape(2, -1), np.nan) if loss is None else loss
    return Surface(
        axes,
        {"loss": values},
        state,
        np.ones(state.shape, np.float32),
        np.zeros(state.shape, np.int32),
        sessions=sessions,
        path=Path("results/o.h5"),
    )


def test_the_centre_is_told_once_it_is_done() -> None:
    axes = {"x": np.linspace(-1, 1, 3), "y": np.array([0.0, 0.5])}
    values = np.arange(6.0).reshape(2, 3)

    def plane(axes: dict[str, np.ndarray], state: int) -> Surface:
        status = np.full((2, 3), state, dtype=np.uint8)
        metrics = {"loss": values, "accuracy": values / 8, "accuracy_test": values / 3}
        return Surface(axes, metrics, status, np.ones((2, 3), np.float32), np.zeros((2, 3), np.int32))

    expected = "loss 1, accuracy 12.5 %, accuracy_test 33.33 %"
    assert status.centre(plane(axes, Status.DONE)) == expected
    assert f"  centre    {expected}" in describe(plane(axes, Status.DONE)).splitlines()
    for state in (Status.PENDING, Status.FAILED, Status.SETTLED):
        assert status.centre(plane(axes, state)) == ""
    assert status.centre(plane({**axes, "x": axes["x"] + 0.5}, Status.DONE)) == ""


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status.time, "time", lambda: 1020.0)


@pytest.mark.usefixtures("now")
def test_a_running_sweep() -> None:
    lines = describe(surface(1, 1, 1, 1, 1, 2, 0, 0, sessions=(SESSION,))).splitlines()
    assert lines[:5] == [
        "results/o.h5",
        "  grid      x 4 × y 2 = 8 points",
        "  done      5 (62.5 %)",
        "  failed    1",
        "  pending   2",
    ]
    assert "  rate      0.5 points/s, 0:04 left" in lines and "  best      loss 0 at x = -1, y = 0" in lines
    assert lines[-1].endswith("0:10  5 points, 2 ranks on node1,node2 (mpio, job 42)")


def test_a_sweep_that_stopped_long_ago() -> None:
    assert "left once it is resumed" in describe(surface(1, 0, sessions=(SESSION,)))


def test_a_complete_sweep() -> None:
    text = describe(surface(1, 1, 1, 1, sessions=(SESSION, {**SESSION, "job": ""})))
    assert "left" not in text and text.count("session") == 2 and text.endswith("(mpio)")


@pytest.mark.parametrize("change", [{"points": 0}, {"stop": 1000.0}])
def test_no_rate_yet(change: dict[str, float]) -> None:
    assert "rate" not in describe(surface(0, 0, sessions=({**SESSION, **change},)))


def test_the_best_point_may_be_nowhere() -> None:
    assert "best" not in describe(surface(0, 0))
    assert "best" not in describe(surface(1, 1, loss=np.array([[np.nan], [np.inf]])))


def test_the_best_point_is_at_x_of_its_column_and_y_of_its_row() -> None:
    loss = np.array([[np.nan, -np.inf, 3.0], [2.0, 0.25, np.inf]])
    assert "loss 0.25 at x = 0, y = 0.5" in describe(surface(*[1] * 6, loss=loss))


def test_settled_points_are_neither_done_nor_pending() -> None:
    assert surface(1, Status.SETTLED).complete and "pending   0" in describe(surface(1, Status.SETTLED))


def test_settled_points_are_named() -> None:
    text = describe(surface(1, 3, 1, 3))
    assert "  settled   2 (50.0 %), interpolated; --complete evaluates them" in text.splitlines()
    assert "settled" not in describe(surface(1, 1))
