"""What every store must do, as plain functions: each takes a `Place` and raises where the store falls short.

Memory and gather run in the test's own process. Through MPI-IO they run in a process of their own, `python
store_contract.py FOLDER`, since MPI must not start inside pytest: it prints one JSON object, check → traceback
or "".
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsweep.comm import Comm, SerialComm, connect
from lsweep.errors import LsweepError
from lsweep.grid import Axis, Grid
from lsweep.store import Batch, Header, Store, open_store
from lsweep.store.reader import read
from lsweep.surface import Status, Surface

GRIDS = {
    "line": Grid(Axis(-1.0, 1.0, 7)),
    "plane": Grid(Axis(-1.0, 1.0, 5), Axis(0.0, 2.0, 3)),
    "box": Grid(Axis(-1.0, 1.0, 4), Axis(0.0, 2.0, 3), Axis(5.0, 6.0, 2)),
    "point": Grid(Axis(0.0, 0.0, 1)),
}
NAMES = ("loss", "accuracy", "loss_test")


def header(grid: Grid, names: tuple[str, ...] = NAMES, **identity: Any) -> Header:
    columns = {"batch_size": ("<i4", 0)}
    return Header(
        grid, names, identity or {"weights": "abc"}, 'output = "α.h5"\n', {"ranks": 1}, columns=columns
    )


def results(points: list[int], status: Status = Status.DONE, rank: int = 3) -> Batch:
    """Recognisable values: the loss of point p is p + 0.25, its second metric −p, the third 100 p."""
    p = np.asarray(points, dtype=np.int64)
    values = np.stack([p + 0.25, -p.astype(float), 100.0 * p], axis=1)
    if status != Status.DONE:
        values[:] = np.nan
    return Batch(
        points=p,
        values=values,
        status=np.full(len(p), status, dtype=np.uint8),
        seconds=np.full(len(p), 0.5, dtype=np.float32),
        rank=np.full(len(p), rank, dtype=np.int32),
        columns={"batch_size": (p + 1).astype(np.int32)},
    )


@dataclass
class Place:
    """Where a store of one mode can be opened."""

    mode: str
    comm: Comm
    folder: Path

    def open(self, grid: Grid, name: str = "sweep.h5", seconds: float = 1e9, **identity: Any) -> Store:
        path = None if self.mode == "memory" else self.folder / name
        return open_store(path, self.mode, self.comm, header(grid, **identity), seconds)


def close(store: Store) -> Surface:
    store.sync()
    store.close()
    surface = store.surface()
    assert surface is not None
    return surface


def same(a: Surface, b: Surface) -> None:
    assert list(a.axes) == list(b.axes)
    assert list(a.metrics) == list(b.metrics)
    pairs = [(a.axes[n], b.axes[n]) for n in a.axes] + [(a.metrics[n], b.metrics[n]) for n in a.metrics]
    assert list(a.columns) == list(b.columns)
    pairs += [(a.columns[n], b.columns[n]) for n in a.columns]
    for ours, theirs in [*pairs, (a.status, b.status), (a.seconds, b.seconds), (a.rank, b.rank)]:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert (a.config, a.provenance) == (b.config, b.provenance)


def check_every_store_reads_like_memory(place: Place) -> None:
    reference = Place("memory", SerialComm(), place.folder)
    for name, grid in GRIDS.items():
        order = np.random.default_rng(0).permutation(grid.size)
        pieces = np.array_split(order[: max(1, grid.size - 1)], 3)
        surfaces = []
        for where in (place, reference):
            store = where.open(grid, f"{name}.h5")
            assert store.status.shape == (grid.size,)
            for index, piece in enumerate(pieces):
                for point in piece:
                    status = Status.FAILED if point == 2 else Status.DONE
                    store.put(results([int(point)], status, rank=index))
                store.sync()
            surfaces.append(close(store))
        same(*surfaces)
        point = next(int(p) for p in order if p != 2)
        place_of = np.unravel_index(point, grid.shape)
        assert surfaces[0].shape == grid.shape
        assert surfaces[0].columns["batch_size"][place_of] == point + 1
        assert surfaces[0].loss[place_of] == point + 0.25
        assert surfaces[0].metrics["loss_test"][place_of] == 100.0 * point


def check_y_is_axis_0(place: Place) -> None:
    grid = GRIDS["plane"]
    store = place.open(grid)
    store.put(results([1 * 5 + 3]))  # y[1], x[3]
    surface = close(store)
    assert surface.loss[1, 3] == 8.25
    assert (surface.x[3], surface.y[1]) == (0.5, 1.0)
    assert np.isfinite(surface.loss).sum() == 1


def check_a_nan_result_is_done_and_a_failure_is_not(place: Place) -> None:
    store = place.open(GRIDS["line"])
    batch = results([0, 1])
    batch.values[0] = [np.nan, 0.5, np.inf]
    store.put(batch)
    store.put(results([3], Status.FAILED))
    surface = close(store)
    assert surface.status.tolist() == [1, 1, 0, 2, 0, 0, 0]
    assert np.isnan(surface.loss[[0, 2, 3]]).all()
    assert surface.accuracy[0] == 0.5
    assert surface.metrics["loss_test"][0] == np.inf
    assert surface.rank.tolist() == [3, 3, -1, -1, -1, -1, -1]
    assert np.isnan(surface.seconds[2:]).all()


def check_restart_goes_on(place: Place) -> None:
    if place.mode == "memory":
        return
    grid = GRIDS["plane"]
    first = place.open(grid)
    first.put(results([0, 1, 2, 7]))
    first.put(results([4], Status.FAILED))
    before = close(first)
    again = place.open(grid)
    assert again.status.tolist() == [1, 1, 1, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    again.put(results([4, 14]))
    after = close(again)
    assert after.status.reshape(-1)[[4, 14]].tolist() == [1, 1]
    np.testing.assert_array_equal(after.loss[before.done], before.loss[before.done])
    same(after, read(place.folder / "sweep.h5"))


def check_nothing_is_acknowledged_before_sync(place: Place) -> None:
    store = place.open(GRIDS["line"], "late.h5", seconds=1e9)
    durable: list[int] = []
    store.on_durable = lambda batch: durable.extend(batch.points.tolist())
    store.put(results([3]))
    store.put(results([1]))
    assert durable == []
    store.sync()
    assert durable == [1, 3]
    store.sync()
    assert durable == [1, 3]
    close(store)
    store = place.open(GRIDS["line"], "soon.h5", seconds=0.0)
    store.on_durable = lambda batch: durable.extend(batch.points.tolist())
    store.put(results([5]))
    assert durable == [1, 3, 5]
    close(store)


def check_a_session_that_lost_its_lock_writes_nothing(place: Place) -> None:
    store = place.open(GRIDS["line"])
    store.put(results([0]))
    store.sync()

    def refuse() -> None:
        raise LsweepError("not ours any more")

    store.guard = refuse
    store.put(results([1]))
    try:
        store.sync()
    except LsweepError:
        pass
    else:
        raise AssertionError("a batch was written without the lock")
    store.guard = lambda: None
    store._open.clear()
    assert close(store).status.tolist() == [1, 0, 0, 0, 0, 0, 0]


def check_a_failed_write_is_the_last(place: Place) -> None:
    """Nothing is acknowledged after it, though the disk may have room again: what HDF5 holds is unknown."""
    if place.mode == "memory":
        return
    store = place.open(GRIDS["line"], seconds=0.0)
    durable: list[int] = []
    failures: list[str] = []
    store.on_durable = lambda batch: durable.extend(batch.points.tolist())
    store.on_failure = lambda failure: failures.append(str(failure))
    store.put(results([0]))
    write = store._writer.write

    def full(batch: Batch) -> None:
        raise OSError(28, "No space left on device")

    store._writer.write = full
    store.put(results([1]))
    store._writer.write = write
    store.put(results([2]))
    store.update_session(3)
    surface = close(store)
    assert durable == [0]
    assert failures == ["cannot be written any more: No space left on device"] == [str(store.failure)]
    assert surface.status.tolist() == [1, 0, 0, 0, 0, 0, 0]
    again = place.open(GRIDS["line"])
    again.put(results([1, 2]))
    assert close(again).status.tolist() == [1, 1, 1, 0, 0, 0, 0]


def check_ring_of_sessions(place: Place) -> None:
    if place.mode == "memory":
        return
    store = place.open(GRIDS["line"])
    for number in range(70):
        store.begin_session(f"job{number}", "node-a,node-b")
        store.update_session(number)
    store.begin_session("é" * 99, "h" * 999)
    sessions = close(store).sessions
    assert [s["job"] for s in sessions[:-1]] == [f"job{n}" for n in range(7, 70)]
    assert [s["points"] for s in sessions[:-1]] == list(range(7, 70))
    assert sessions[0]["mode"] == place.mode
    assert (sessions[0]["ranks"], sessions[0]["hosts"]) == (1, "node-a,node-b")
    assert sessions[-1]["job"] == "é" * 32
    assert all(s["stop"] >= s["start"] > 1e9 for s in sessions)


CHECKS = {name.removeprefix("check_"): f for name, f in list(globals().items()) if name.startswith("check_")}


def main(folder: Path) -> None:
    comm = connect(need_mpi=True)
    reports = {}
    for name, check in CHECKS.items():
        (folder / name).mkdir()
        try:
            check(Place("mpio", comm, folder / name))
            reports[name] = ""
        except Exception:
            reports[name] = traceback.format_exc()
    print(json.dumps(reports))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
