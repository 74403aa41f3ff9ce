"""Sweeps by `engine.run` with a null evaluator and no torch: what the tests in this folder run under mpiexec.

    python driver.py SCENARIO FOLDER [KEY=VALUE ...]

Scenario `sweep` sweeps 11 × 7 points, resuming what is there; the others do the same and go wrong on purpose.
With refine=TOLERANCE it is 37 × 34 points of a sharp bowl, refined; with neighbours=yes each from as few of its
examples as its neighbours allow.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sampled import COUNT, Sampled

from lsweep.cli import session
from lsweep.comm import Comm, connect
from lsweep.engine import loop
from lsweep.engine.exchange import ExampleCache, Exchange
from lsweep.engine.plan import Options, Plan
from lsweep.errors import InputError
from lsweep.evaluate.interface import Evaluation, Evaluator
from lsweep.grid import Axis, Grid, Refine
from lsweep.store import Batch, Header, open_store
from lsweep.store.writer import FileWriter
from lsweep.tools.lock import acquire

GRID = Grid(Axis(-1.0, 1.0, 11), Axis(0.0, 3.0, 7))


def refined(tolerance: str) -> Grid:
    return Grid(Axis(-1.0, 1.0, 37), Axis(-1.0, 1.0, 34), refine=Refine(float(tolerance)))


class Null(Evaluator):
    """Any function of the coordinates will do, as long as its bits are telling."""

    names = ("loss", "accuracy", "loss_test", "accuracy_test")

    def __init__(self, comm: Comm, scenario: str, seconds: float, folder: Path) -> None:
        super().__init__()
        self._comm, self._scenario, self._seconds = comm, scenario, seconds
        self._tiles = 0
        self._diary = folder / f"evaluated-{comm.rank}"

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        self._tiles += 1
        if self._scenario == "diary":
            with self._diary.open("a") as diary:
                diary.writelines(f"{x:.6f} {y:.6f}\n" for x, y in coordinates)
        time.sleep(self._seconds * len(coordinates))
        self._go_wrong(coordinates)
        x, y = coordinates[:, 0], coordinates[:, 1]
        loss = np.sin(3 * x) * np.exp(y) + x / 7
        loss[(x < 0) & (y == 3.0)] = np.nan
        values = np.stack([loss, x**2, loss * 3, y**2], axis=1)
        return Evaluation(values, np.full(len(x), 0.001))

    def _go_wrong(self, coordinates: np.ndarray) -> None:
        last = self._comm.rank == self._comm.size - 1
        if self._scenario == "cuda" and last and self._tiles == 3:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if self._scenario == "hang" and last and self._tiles == 2:
            time.sleep(4)
        if self._scenario == "freeze" and last and self._tiles == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        if self._scenario == "input" and last and self._tiles == 3:
            raise InputError("the data changed under our feet")
        if self._scenario == "exit" and last and self._tiles == 3:
            sys.exit(5)
        if self._scenario == "bad_points" and (np.isclose(coordinates, [1.0, 3.0]).all(axis=1)).any():
            raise ValueError("no such place")
        if self._scenario == "bad_corner" and (np.isclose(coordinates, [-1.0, -1.0]).all(axis=1)).any():
            raise ValueError("no such corner")
        if self._scenario == "too_many":
            raise ValueError("nothing works")
        if self._scenario == "full" and last and self._tiles == 3:
            FileWriter.write = no_room  # type: ignore[method-assign]
        if self._scenario == "handler" and last and self._tiles == 3:
            self._comm.post(0, "explode", "now")


class Bowl(Null):
    """Sharp in the middle, with a region that has no value, and a second loss with a ridge."""

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        super().evaluate(coordinates)
        x, y = coordinates[:, 0], coordinates[:, 1]
        loss = 0.01 + np.hypot(x - 0.1, y) ** 1.1
        loss[x + y > 1.7] = np.nan
        ridge = 1 + np.exp(-(((x - y / 3 - 0.4) / 0.2) ** 2))
        return Evaluation(np.stack([loss, np.cos(x), ridge, y**2], axis=1), np.full(len(x), 0.001))


class Few(Bowl):
    """A bowl of examples; the same misfortunes."""

    names, columns = Sampled.names, Sampled.columns  # type: ignore[assignment]

    def __init__(self, comm: Comm, scenario: str, seconds: float, folder: Path, grid: Grid) -> None:
        super().__init__(comm, scenario, seconds, folder)
        self._sampled = Sampled(grid)
        self.neighbours = self._sampled.neighbours

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        super().evaluate(coordinates)
        return self._sampled.evaluate(coordinates)


def no_room(self: FileWriter, batch: Batch) -> None:
    raise RuntimeError("Can't flush: file write failed: errno = 122, error message = 'Disk quota exceeded'")


def explode(source: int, message: str) -> None:
    raise ValueError(f"rank {source} says {message}")


def main(comm: Comm) -> int:
    scenario, folder = sys.argv[1], Path(sys.argv[2])
    options: dict[str, Any] = {"mode": "gather", "tile": "1", "seconds": "0", "sync": "5", "max": "0"}
    options |= {"kind": "auto", "silent": "120", "refine": "", "neighbours": ""}
    options |= dict(argument.split("=") for argument in sys.argv[3:])
    output = folder / "sweep.h5"
    grid = refined(options["refine"]) if options["refine"] else GRID
    plan = Plan(
        output=str(output),
        grid=grid,
        dynamic=options["kind"] == "dynamic",
        tile=int(options["tile"]),
        max_failures=3,
        patience=max(float(options["silent"]), 3 * float(options["sync"])),
    )
    session.log_to_stderr(comm, logging.WARNING)
    lock = comm.on_root(lambda: acquire(output))
    # No identity but the grid: a sweep must be resumed by any number of ranks, in any mode.
    identity = {"axes": list(reversed(grid.shape))}
    evaluator: Any = (Bowl if options["refine"] else Null)(comm, scenario, float(options["seconds"]), folder)
    exchange = None
    if options["neighbours"]:
        evaluator = Few(comm, scenario, float(options["seconds"]), folder, grid)
        cache = ExampleCache(output, identity, grid.size, {"train": COUNT})
        exchange = Exchange(comm, evaluator.neighbours, cache)
    header = Header(grid, evaluator.names, identity, columns=evaluator.columns)
    store = open_store(output, options["mode"], comm, header, float(options["sync"]))
    store.guard = lock.check
    comm.on("explode", explode)
    settings = Options(
        max_points=int(options["max"]) or None,
        retry_failed=scenario == "retry",
        complete=scenario == "complete",
    )
    with settings.stop.on_signals():
        outcome = loop.run(plan, settings, comm, store, evaluator, exchange)
    store.close()
    assert "torch" not in sys.modules
    if comm.is_root:
        lock.release()
        print(f"done {outcome.done} failed {outcome.failed} pending {outcome.pending} {outcome.evaluated}")
        print(outcome.reason)
    return outcome.exit_status


if __name__ == "__main__":
    signal.alarm(300)
    ranks = connect()
    try:
        with session.errors_end_all(ranks):
            status = main(ranks)
    except session.Ended as end:
        status = end.status
    sys.exit(status)
