"""A sweep by `engine.run` without torch that keeps its own record of what the store acknowledged.

    python acknowledging.py OUTPUT RECORDS [KEY=VALUE ...]

Every rank that makes batches durable appends them, as soon as the store says so, to RECORDS/<process>.ack, in a
file of its own: rank, point, status and the bits of all metrics. The tests hold the sweep's file to that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from lsweep.cli import session
from lsweep.cli.sweep import report
from lsweep.comm import Comm, connect
from lsweep.engine import loop
from lsweep.engine.plan import Options, Plan
from lsweep.errors import InputError, LsweepError
from lsweep.evaluate.interface import Evaluation, Evaluator
from lsweep.grid import Axis, Grid
from lsweep.store import Header, open_store, prepare_output, probe
from lsweep.store.base import Batch
from lsweep.store.writer import FileWriter
from lsweep.tools import lock

NAMES = ("loss", "accuracy", "loss_test", "accuracy_test")
DEFAULTS = {"mode": "gather", "grid": "11x7", "tile": "1", "seconds": "0", "sync": "0", "max": "0"}
DEFAULTS |= {"scenario": "sweep", "metrics": "4", "patience": "", "schedule": "static", "go": ""}


def record(metrics: int) -> np.dtype[Any]:
    """One acknowledged point."""
    return np.dtype([("point", "<i8"), ("status", "u1"), ("rank", "<i4"), ("values", "<f8", (metrics,))])


def grid(text: str) -> Grid:
    """ "11x7": 11 columns, 7 rows."""
    nx, ny = map(int, text.split("x"))
    return Grid(Axis(-1.0, 1.0, nx), Axis(0.0, 3.0, ny))


class Null(Evaluator):
    """An evaluator that costs nothing: any function of the coordinates will do, as long as its bits are telling.

    NaN, a result like any other, in one corner; in the scenario "bad_points" another corner cannot be evaluated.
    """

    def __init__(self, scenario: str = "sweep", seconds: float = 0.0, metrics: int = len(NAMES)) -> None:
        super().__init__()
        self.names = NAMES[:metrics]
        self._scenario, self._seconds = scenario, seconds

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        time.sleep(self._seconds * len(coordinates))
        x, y = coordinates[:, 0], coordinates[:, 1]
        if self._scenario == "bad_points" and ((x == 1.0) & (y == 3.0)).any():
            raise ValueError("no such place")
        loss = np.sin(3 * x) * np.exp(y) + x / 7
        loss[(x == -1.0) & (y == 3.0)] = np.nan
        values = np.stack([loss, x**2, loss * 3, y**2], axis=1)
        return Evaluation(values[:, : len(self.names)], np.full(len(x), 0.001))


def acknowledge(folder: Path, metrics: int) -> None:
    """From now on, what the store's writer has made durable goes on record."""
    path = folder / f"{os.getpid()}.ack"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    write = FileWriter.write

    def write_and_record(self: FileWriter, batch: Batch) -> None:
        write(self, batch)
        rows = np.zeros(len(batch), dtype=record(metrics))
        rows["point"], rows["status"], rows["rank"] = batch.points, batch.status, batch.rank
        rows["values"] = batch.values
        assert os.write(descriptor, rows.tobytes()) == rows.nbytes
        os.fsync(descriptor)

    FileWriter.write = write_and_record  # type: ignore[method-assign]


def sweep(comm: Comm, output: Path, options: Mapping[str, str]) -> int:
    """Collective: create or resume the sweep, run it, and return the exit status."""
    plan = Plan(
        output=str(output),
        grid=grid(options["grid"]),
        dynamic=options["schedule"] == "dynamic",
        tile=int(options["tile"]),
        max_failures=3,
    )

    def take() -> lock.Lock:
        prepare_output(output)
        return lock.acquire(output)

    held = comm.on_root(take)
    try:
        outcome = _run(comm, plan, options, held)
    except LsweepError:
        if comm.is_root:
            held.release()
        raise
    if comm.is_root:
        held.release()
        report(plan.output, outcome)
    return outcome.exit_status


def _run(comm: Comm, plan: Plan, options: Mapping[str, str], held: lock.Lock) -> loop.Outcome:
    # No identity but the grid: a sweep must be resumed by any number of ranks, in any mode.
    metrics = int(options["metrics"])
    header = Header(plan.grid, NAMES[:metrics], {"axes": list(plan.grid.shape)})
    store = open_store(Path(plan.output), options["mode"], comm, header, float(options["sync"]))
    store.guard = held.check
    evaluator = Null(options["scenario"], float(options["seconds"]), metrics)
    settings = Options(max_points=int(options["max"]) or None)
    # Signals are the main thread's: tests resume in others.
    with (
        settings.stop.on_signals() if threading.current_thread() is threading.main_thread() else nullcontext()
    ):
        outcome = loop.run(plan, settings, comm, store, evaluator)
    store.close()
    return outcome


def trust(path: Path, *calls: object) -> None:
    """Instead of `probe.require`: no child process reads these files first, which would take most of the time."""


def main() -> int:
    probe.require = trust
    options = DEFAULTS | dict(argument.split("=") for argument in sys.argv[3:])
    acknowledge(Path(sys.argv[2]), int(options["metrics"]))
    if options["patience"]:
        lock.PATIENCE = float(options["patience"])
    comm = connect(need_mpi=options["mode"] == "mpio")
    while options["go"] and not Path(options["go"]).exists():
        time.sleep(0)  # ready; racers start at one instant
    with session.errors_end_all(comm):
        return sweep(comm, Path(sys.argv[1]), options)


if __name__ == "__main__":
    signal.alarm(120)
    try:
        sys.exit(main())
    except session.Ended as end:
        sys.exit(end.status)
    except InputError as error:
        session.report_on_first_rank(error)
        sys.exit(error.exit_status)
