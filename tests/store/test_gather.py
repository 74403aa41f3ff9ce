"""Rank 0 of a gathering store: what other ranks send is written together, and seldom while it has points of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from store_contract import GRIDS, Place, results

from lsweep.comm import SerialComm
from lsweep.store import Batch, Store
from lsweep.store import base as gathering


class RootOfMany(SerialComm):
    """Rank 0 of four, whose others speak when the test lets them."""

    size = 4

    def arrive(self, *batches: Batch) -> None:
        """All of these in one poll."""
        for source, batch in enumerate(batches, start=1):
            self._deliver(source, "batch", batch)
        self.poll()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gathering, "time", clock)
    return clock


@pytest.fixture(params=["memory", "gather"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Place(request.param, RootOfMany(), tmp_path).open(GRIDS["box"], seconds=5.0)


def durable(store: Store) -> list[list[int]]:
    """Filled with the points of each batch that becomes durable."""
    found: list[list[int]] = []
    store.on_durable = lambda batch: found.append(batch.points.tolist())
    return found


def test_written_together_and_seldom_while_rank_0_evaluates(store: Store, clock: Clock) -> None:
    written, comm = durable(store), store._comm
    assert isinstance(comm, RootOfMany)
    store.put(results([0]))
    comm.arrive(results([3, 4]), results([1]))
    assert written == [[1, 3, 4]]  # the first one at once
    comm.arrive(results([7]))
    clock.now += 1.0
    comm.arrive(results([6]), results([5]))
    assert written == [[1, 3, 4]]
    clock.now += 1.5  # half of the seconds since the last write: the other half is the senders'
    comm.poll()
    assert written == [[1, 3, 4], [5, 6, 7]]


def test_its_own_batch_takes_along_what_has_arrived(store: Store, clock: Clock) -> None:
    written, comm = durable(store), store._comm
    assert isinstance(comm, RootOfMany)
    store.put(results([0]))
    comm.arrive(results([1]))
    comm.arrive(results([2]))
    clock.now += 2.5
    store.put(results([8]))
    assert written == [[1], [0, 2, 8]]


def test_at_once_when_rank_0_has_no_points_left(store: Store, clock: Clock) -> None:
    written, comm = durable(store), store._comm
    assert isinstance(comm, RootOfMany)
    store.put(results([0]))
    store.sync()
    comm.arrive(results([1]), results([2]))
    comm.arrive(results([3]))
    assert written == [[0], [1, 2], [3]]
    store.close()
    surface = store.surface()
    assert surface is not None
    assert np.flatnonzero(surface.done).tolist() == [0, 1, 2, 3]


def test_nothing_is_written_when_the_lock_is_lost(store: Store, clock: Clock) -> None:
    def refuse() -> None:
        raise RuntimeError("another session has it")

    written, comm = durable(store), store._comm
    assert isinstance(comm, RootOfMany)
    store.guard = refuse
    with pytest.raises(RuntimeError, match="another session"):
        comm.arrive(results([1]))
    assert written == []


class OneOfMany(SerialComm):
    """A rank of four that posts to rank 0."""

    size = 4

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.posted: list[list[int]] = []

    def post(self, dest: int, tag: str, message: Batch) -> None:
        self.posted.append(message.points.tolist())


def test_ranks_close_their_first_batch_at_different_times(clock: Clock, tmp_path: Path) -> None:
    """Else all would come to the disk together; later batches are as long as each other, half of the seconds."""
    closed = {}
    for rank in (1, 2, 3):
        comm = OneOfMany(rank)
        store = Place("memory", comm, tmp_path).open(GRIDS["box"], seconds=8.0)
        clock.now = 100.0
        for point in range(10):
            store.put(results([point]))
            clock.now += 1.0
        closed[rank] = comm.posted
    assert closed[1] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    assert closed[2] == [[0, 1, 2], [3, 4, 5, 6, 7]]
    assert closed[3] == [[0, 1], [2, 3, 4, 5, 6]]
