"""Refined sweeps by the engine in this process: rounds, settling, interruption, completion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lsweep.comm import SerialComm
from lsweep.engine import loop
from lsweep.engine.plan import Options, Plan
from lsweep.engine.session_monitor import Outcome
from lsweep.errors import EXIT_BAD_INPUT, EXIT_COMPLETE, EXIT_SOME_FAILED, EXIT_STOPPED
from lsweep.evaluate.interface import Evaluation, Evaluator
from lsweep.grid import Axis, Grid, Refine
from lsweep.store import Batch, Header, Store, open_store
from lsweep.surface import Status, Surface
from lsweep.tools.progress import Lines

GRID = Grid(Axis(-1.0, 1.0, 33), Axis(-1.0, 1.0, 18), refine=Refine(0.02))


class Sharp(Evaluator):
    """A sharp bowl off the centre; it counts what it evaluates, and fails where it is told to."""

    names = ("loss", "accuracy")

    def __init__(self, broken: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.evaluated = 0
        self.broken = broken

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        self.evaluated += len(coordinates)
        if self.broken is not None and np.isclose(coordinates, self.broken).all(axis=1).any():
            raise ValueError("no such place")
        loss = 0.01 + np.hypot(coordinates[:, 0] - 0.2, coordinates[:, 1])
        return Evaluation(np.stack([loss, 1 / (1 + loss)], axis=1), np.full(len(loss), 0.5))


def opened(path: Path | None, grid: Grid = GRID) -> Store:
    header = Header(grid, Sharp.names, {"weights": "abc"})
    return open_store(path, "memory" if path is None else "gather", SerialComm(), header, 1e9)


def session(
    path: Path | None,
    *,
    evaluator: Sharp | None = None,
    store: Store | None = None,
    tile: int = 1,
    points: np.ndarray | None = None,
    **options: Any,
) -> tuple[Outcome, Surface]:
    plan = Plan(str(path), GRID, tile=tile, max_failures=3, points=points)
    store = store or opened(path)
    outcome = loop.run(plan, Options(**options), SerialComm(), store, evaluator or Sharp())
    store.close()
    surface = store.surface()
    assert surface is not None
    return outcome, surface


def same(a: Surface, b: Surface) -> None:
    for ours, theirs in [(a.metrics[n], b.metrics[n]) for n in a.metrics] + [(a.status, b.status)]:
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def whole() -> Surface:
    """In memory, in one go."""
    outcome, surface = session(None)
    assert outcome.done + outcome.settled == GRID.size and outcome.exit_status == EXIT_COMPLETE
    assert outcome.evaluated == outcome.done == surface.count(Status.DONE) < GRID.size / 2
    return surface


def test_every_store_keeps_the_same(whole: Surface, tmp_path: Path) -> None:
    evaluator = Sharp()
    outcome, surface = session(tmp_path / "o.h5", evaluator=evaluator)
    same(surface, whole)
    assert evaluator.evaluated == outcome.done
    assert np.isnan(surface.loss[surface.settled]).all() and (surface.rank[surface.settled] == -1).all()
    assert surface.complete and surface.sessions[0]["points"] == outcome.done


@pytest.mark.slow
def test_one_point_per_session(whole: Surface, tmp_path: Path) -> None:
    """Interrupted at every count, in every round."""
    done = whole.count(Status.DONE)
    for count in range(1, done + 1):
        outcome, surface = session(tmp_path / "o.h5", max_points=1)
        assert outcome.done == count and outcome.evaluated == 1
        if count < done:
            assert outcome.exit_status == EXIT_STOPPED and outcome.settled == 0
    assert outcome.exit_status == EXIT_COMPLETE
    same(surface, whole)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [1, 4])
def test_stopped_anywhere_and_resumed(tile: int, whole: Surface, tmp_path: Path) -> None:
    for index, count in enumerate((1, 50, 98, 99, 120)):
        path = tmp_path / f"{index}.h5"
        assert session(path, max_points=count, tile=tile)[0].exit_status == EXIT_STOPPED
        outcome, surface = session(path, tile=tile)
        assert outcome.exit_status == EXIT_COMPLETE
        same(surface, whole)


def test_a_budget_that_is_just_enough(whole: Surface, tmp_path: Path) -> None:
    outcome, surface = session(tmp_path / "o.h5", max_points=whole.count(Status.DONE))
    assert outcome.exit_status == EXIT_COMPLETE
    same(surface, whole)


def test_interrupted_while_settling(whole: Surface, tmp_path: Path) -> None:
    path = tmp_path / "o.h5"
    session(path)
    with h5py.File(path, "r+") as file:
        status = file["status"][...]
        status[:9][status[:9] == Status.SETTLED] = Status.PENDING
        file["status"][...] = status
    outcome, surface = session(path)
    assert (outcome.evaluated, outcome.exit_status) == (0, EXIT_COMPLETE)
    same(surface, whole)


def test_a_disk_without_room_for_the_last_step(whole: Surface, tmp_path: Path) -> None:
    store = opened(tmp_path / "o.h5")
    write = store._writer.write  # type: ignore[attr-defined]

    def full(batch: Batch) -> None:
        if (batch.status == Status.SETTLED).all():
            raise OSError(28, "No space left on device")
        write(batch)

    store._writer.write = full  # type: ignore[attr-defined]
    outcome, _ = session(tmp_path / "o.h5", store=store)
    assert outcome.broken and outcome.exit_status == EXIT_STOPPED and outcome.settled == 0
    outcome, surface = session(tmp_path / "o.h5")
    assert outcome.exit_status == EXIT_COMPLETE
    same(surface, whole)


def test_complete_is_the_full_sweep_to_the_bit(whole: Surface, tmp_path: Path) -> None:
    path = tmp_path / "o.h5"
    session(path)
    outcome, surface = session(path, complete=True, max_points=30)
    assert outcome.exit_status == EXIT_STOPPED and outcome.evaluated == 30
    assert surface.count(Status.SETTLED) == outcome.pending > 0
    again = Sharp()
    assert session(path, evaluator=again)[0].exit_status == EXIT_COMPLETE and again.evaluated == 0
    outcome, surface = session(path, complete=True)
    assert outcome.exit_status == EXIT_COMPLETE and outcome.settled == 0
    _, full = session(None, complete=True)
    assert full.done.all()
    same(surface, full)
    assert np.abs(whole.filled() / full.loss - 1).max() < 0.02


def test_a_point_that_fails_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "o.h5"
    broken = (-1.0, -1.0)
    outcome, surface = session(path, evaluator=Sharp(broken))
    assert outcome.exit_status == EXIT_SOME_FAILED and outcome.failed == 1 and outcome.settled > 0
    assert surface.status[0, 0] == Status.FAILED and surface.done[0, 1] and surface.done[1, 0]
    assert np.isfinite(surface.filled()[surface.settled]).all() and np.isnan(surface.filled()[0, 0])
    assert session(path)[0].exit_status == EXIT_SOME_FAILED  # nothing pending: nothing to do
    outcome, surface = session(path, retry_failed=True)
    assert outcome.exit_status == EXIT_COMPLETE and surface.done[0, 0]


def test_nothing_durable_is_no_progress(tmp_path: Path) -> None:
    store = opened(tmp_path / "o.h5")

    def full(batch: Batch) -> None:
        raise OSError(28, "No space left on device")

    store._writer.write = full  # type: ignore[attr-defined]
    outcome, _ = session(tmp_path / "o.h5", store=store)
    assert outcome.exit_status == EXIT_BAD_INPUT and outcome.pending == GRID.size


def test_progress_ends_at_what_there_was_to_do(whole: Surface, tmp_path: Path) -> None:
    written: list[str] = []
    done = whole.count(Status.DONE)
    for _ in ("sweep", "nothing left to do"):
        session(tmp_path / "o.h5", progress=Lines(written.append))
        assert f"{done}/{done} points (100.0 %)" in written[-1]
    session(tmp_path / "o.h5", progress=Lines(written.append), complete=True)
    assert f"{GRID.size}/{GRID.size} points (100.0 %)" in written[-1]
