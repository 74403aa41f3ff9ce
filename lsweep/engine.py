"""The sweep itself, in one sitting: pending points → tiles → evaluate → store.

Ranks never wait for one another between points. Results, progress and stop requests travel as messages that
are polled between points; only the end is collective.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from lsweep import schedule
from lsweep.books import Books, Outcome
from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.errors import LsweepError, PointError
from lsweep.evaluation import Column, Evaluation, Evaluator
from lsweep.progress import Progress, Silent
from lsweep.stop import Stop
from lsweep.store.base import Store
from lsweep.store.batch import Batch, concatenate
from lsweep.surface import Status
from lsweep.tickets import Tickets

__all__ = ["Outcome", "run", "to_evaluate"]

log = logging.getLogger("lsweep")


def run(
    config: Config,
    comm: Comm,
    store: Store,
    evaluator: Evaluator,
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
    max_points: int | None = None,
    retry_failed: bool = False,
) -> Outcome:
    """Collective: evaluate the store's pending points on all ranks.

    Args:
        config: the grid, the schedule, how many failures are too many.
        comm: the ranks.
        store: what is done already, and where results go.
        evaluator: this rank's own.
        progress: told on rank 0 of what became durable.
        stop: asked between points.
        max_points: leave after so many, over all ranks.
        retry_failed: evaluate failed points even where nothing else is pending.

    Raises:
        PointError: more than `config.evaluate.max_failures` points failed, or the centre did.
    """
    stop = stop or Stop()
    todo = to_evaluate(store.status, retry_failed)
    work = schedule.tiles(config.grid, todo, config.schedule.tile)
    # Failed points last: a session that is cut short every time must get on with the others.
    work.sort(key=lambda tile: not (store.status[tile.points] == Status.PENDING).any())
    if max_points is not None:
        points = np.cumsum([len(tile.points) for tile in work])
        work = work[: int(np.searchsorted(points, max_points)) + 1]
    if comm.is_root and 0 < len(work) < comm.size:
        log.info(
            "%d of %d ranks stay idle: only %d tiles are pending", comm.size - len(work), comm.size, len(work)
        )

    books = Books(config, comm, store, progress or Silent(), stop)
    books.open()
    slowest = 0.0
    with books.watch.watching(), dealt(config, comm, work) as mine:
        for tile in mine:
            comm.poll()
            if stop.due(slowest * len(tile.points)):
                break
            books.watch.begin(_place(config, tile))
            batch = _evaluate(config, comm, evaluator, tile)
            books.watch.end()
            slowest = max(slowest, float(batch.seconds.max()))
            books.count(batch)
            store.put(batch)
        store.sync()
        books.finished()
        comm.quiesce()
    _tell_notes(comm, evaluator)
    return books.close()


@contextmanager
def dealt(config: Config, comm: Comm, work: list[schedule.Tile]) -> Iterator[Iterator[schedule.Tile]]:
    """Collective: this rank's tiles, one after another, by the schedule that `config` asks for.

    Entered and left together, quiescent: a counter that other ranks still draw from must not go away.
    """
    tickets = _tickets(comm) if config.schedule.kind == "dynamic" else None
    if tickets is None:
        yield iter(schedule.static_cyclic(work, comm.rank, comm.size))
    else:
        yield schedule.dynamic(work, tickets.take)
        tickets.close()


def _tickets(comm: Comm) -> Tickets | None:
    """Collective: a counter to draw from, or, with a warning, None where it would be of no use."""
    try:
        tickets = comm.tickets()
    except RuntimeError as error:  # mpi4py's; on all ranks alike
        reason = f"this MPI has no one-sided communication ({error})"
    else:
        if tickets.come_while_rank_0_computes():
            return tickets
        tickets.close()
        reason = (
            "this MPI fetches nothing from a rank that computes: every rank would wait for rank 0's points"
        )
    if comm.is_root:
        log.warning("schedule.kind = dynamic: %s; the static schedule is used", reason)
    return None


def _place(config: Config, tile: schedule.Tile) -> str:
    first = ", ".join(f"{v:g}" for v in config.grid.coordinates(tile.points[:1])[0])
    return f"point ({first})" + (f" and {len(tile.points) - 1} more" if len(tile.points) > 1 else "")


def _tell_notes(comm: Comm, evaluator: Evaluator) -> None:
    """Collective: one warning per remarkable thing, however many points and ranks met it."""
    notes: Counter[str] = Counter()
    for met in comm.allgather(dict(getattr(evaluator, "notes", {}))):
        notes.update(met)
    if comm.is_root:
        for note, points in notes.items():
            log.warning("at %d points %s", points, note)


def to_evaluate(status: np.ndarray, retry_failed: bool = False) -> np.ndarray:
    """Which points a session takes on, boolean (size,).

    Failed points are tried again whenever others are pending; where nothing but failures is left, only on
    request, so that a job that resubmits itself comes to an end.
    """
    pending = status == Status.PENDING
    failed = status == Status.FAILED
    return pending | failed if retry_failed or pending.any() else pending


def _evaluate(config: Config, comm: Comm, evaluator: Evaluator, tile: schedule.Tile) -> Batch:
    """Evaluate a tile; if it raises, point by point, so that one bad point spoils no others."""
    coordinates = config.grid.coordinates(tile.points)
    try:
        result = _result(config, evaluator, tile)
        return _batch(comm, evaluator, tile.points, result, Status.DONE)
    except Exception as error:
        if _is_fatal(error):
            raise
        if len(tile.points) > 1:
            single = [
                schedule.Tile(tile.index, tile.points[i : i + 1], range(p, p + 1))
                for i, p in enumerate(tile.points)
            ]
            return concatenate([_evaluate(config, comm, evaluator, one) for one in single])
        place = ", ".join(f"{v:g}" for v in coordinates[0])
        if not coordinates.any():
            raise PointError(
                f"the centre ({place}) cannot be evaluated: {type(error).__name__}: {error}"
            ) from error
        log.warning("point (%s) failed: %s: %s", place, type(error).__name__, error)
        nothing = Evaluation(np.full((1, len(evaluator.names)), np.nan), np.zeros(1))
        return _batch(comm, evaluator, tile.points, nothing, Status.FAILED)


def _result(config: Config, evaluator: Evaluator, tile: schedule.Tile) -> Evaluation:
    """Its pending points; computed with all the others where they share their arithmetic, and so their bits."""
    if not getattr(evaluator, "joint", False):
        return evaluator.evaluate(config.grid.coordinates(tile.points))
    whole = evaluator.evaluate(config.grid.coordinates(np.array(tile.whole)))
    rows = tile.points - tile.whole.start
    columns = {name: values[rows] for name, values in whole.columns.items()}
    return Evaluation(whole.values[rows], whole.seconds[rows], columns)


def _is_fatal(error: Exception) -> bool:
    """Whether an error is the job's, not the point's: lsweep's own, the device's, MPI's or memory."""
    if isinstance(error, (LsweepError, MemoryError)):
        return True
    name = type(error).__name__
    return name in ("AcceleratorError", "OutOfMemoryError") or "CUDA" in str(error) or "MPI_" in str(error)


def _batch(comm: Comm, evaluator: Evaluator, points: np.ndarray, result: Evaluation, status: Status) -> Batch:
    announced: dict[str, Column] = getattr(evaluator, "columns", {})
    return Batch(
        points=points,
        values=result.values,
        status=np.full(len(points), status, dtype=np.uint8),
        seconds=result.seconds.astype(np.float32),
        rank=np.full(len(points), comm.rank, dtype=np.int32),
        columns={
            name: np.asarray(result.columns.get(name, np.full(len(points), fill)), dtype=dtype)
            for name, (dtype, fill) in announced.items()
        },
    )
