"""The main loop of a session: pending points → tiles → evaluate → store.

Ranks never wait for one another between points. Results, progress and stop requests travel as messages that
are polled between points; only the end of a round is collective, and only a refined grid has more than one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import numpy as np

from lsweep.comm import Comm
from lsweep.engine.exchange import Exchange
from lsweep.engine.plan import Options, Plan
from lsweep.engine.rounds import Rounds, settled_batch
from lsweep.engine.session_monitor import Outcome, SessionMonitor
from lsweep.errors import LsweepError, PointError
from lsweep.evaluate.interface import Evaluation, Evaluator
from lsweep.grid import Grid, schedule
from lsweep.store.base import Batch, Store, concatenate
from lsweep.surface import Status

__all__ = ["Outcome", "run", "to_evaluate"]

log = logging.getLogger("lsweep")


def run(
    plan: Plan,
    options: Options,
    comm: Comm,
    store: Store,
    evaluator: Evaluator,
    exchange: Exchange | None = None,
) -> Outcome:
    """Collective: evaluate the store's pending points on all ranks.

    Args:
        plan: the points and their schedule.
        options: settings of this session.
        comm: the ranks.
        store: holds the results so far, and takes new ones.
        evaluator: this rank's own.
        exchange: exchanges per-example losses between ranks, if the evaluator uses them; not with `options.complete`.

    Raises:
        PointError: more than `plan.max_failures` points failed, or the centre did.
    """
    stop, clock = options.stop, options.clock
    settled = options.complete & (store.status == Status.SETTLED)
    status = np.where(settled, np.uint8(Status.PENDING), store.status)
    order = None
    if plan.points is not None:
        order = np.full(plan.grid.size, len(plan.points))
        order[plan.points] = np.arange(len(plan.points))
        status = np.where(order == len(plan.points), np.uint8(Status.SETTLED), status)
    todo = to_evaluate(status, options.retry_failed)
    rounds = Rounds(plan.grid, comm, store, todo, everything=options.complete, exchange=exchange)
    monitor = SessionMonitor(plan, options, comm, store, status, rounds.learn)
    store.span = lambda: clock.span("storing")
    monitor.open()
    if exchange is not None:
        exchange.open(store.status)
    with clock.span("scheduling"):
        dynamic = plan.dynamic and _counter_works(comm)
    slowest, left = 0.0, options.max_points
    with monitor.watch.watching():
        for turn in rounds:
            with clock.span("waiting for other ranks"):
                stopped = monitor.stopped()
            if stopped or left == 0:
                break
            with clock.span("scheduling"):
                work = _work(plan, status, turn.points, None if turn.again else left, order)
            if not turn.again:
                left = left and max(0, left - sum(len(tile.points) for tile in work))
            monitor.begin_round(len(work))
            with assigned_tiles(comm, work, dynamic=dynamic) as mine:
                for tile in clock.each("scheduling", mine):
                    with clock.span("messages"):
                        comm.poll()
                    if stop.due(slowest * len(tile.points)):
                        break
                    monitor.watch.begin(partial(_place, plan.grid, tile))
                    with clock.span("evaluating points"):
                        batch = _evaluate(plan.grid, comm, evaluator, tile)
                    monitor.watch.end()
                    slowest = max(slowest, longest := float(batch.seconds.max()))
                    if turn.again:
                        continue
                    monitor.count(batch, longest)
                    with clock.span("storing"):
                        store.put(batch)
                with clock.span("storing"):
                    store.sync()
                monitor.finished()
                with clock.span("waiting for other ranks"):
                    comm.quiesce()
                    if exchange is not None:
                        exchange.share()
        else:
            _settle(comm, store, rounds)
    _tell_notes(comm, evaluator)
    return monitor.close()


def _work(
    plan: Plan, status: np.ndarray, points: np.ndarray, most: int | None, order: np.ndarray | None
) -> schedule.Work:
    """The tiles of a round, in order; `most` is the number of points that the session may still evaluate."""
    wanted = np.zeros(plan.grid.size, dtype=bool)
    wanted[points] = True
    # Failed points last: a session that is always interrupted must make progress with the others.
    work = schedule.tiles(plan.grid, wanted, plan.tile, status == Status.FAILED, order)
    return work if most is None else work.first(most)


def _settle(comm: Comm, store: Store, rounds: Rounds) -> None:
    """Collective: mark points that need not be evaluated as settled, after all others are durable."""
    if comm.is_root and len(points := rounds.settled()):
        store.put(settled_batch(points, len(store.names)))
        store.sync()
    comm.quiesce()


@contextmanager
def closing_store(comm: Comm, store: Store) -> Iterator[None]:
    """Collective: close the store at the end of the block; not after an error on several ranks, which could hang."""
    try:
        yield
    except BaseException:
        if comm.size == 1:
            with closing(store):
                store.sync()
        raise
    store.close()


@contextmanager
def assigned_tiles(comm: Comm, work: schedule.Work, *, dynamic: bool) -> Iterator[Iterator[schedule.Tile]]:
    """Collective: this rank's tiles, assigned statically or on demand.

    All ranks enter and leave together and quiescent: the counter must exist while other ranks draw from it.
    """
    if dynamic:
        counter = comm.counter()
        yield schedule.dynamic(work, counter.take)
        counter.close()
    else:
        yield iter(schedule.static_cyclic(work, comm.rank, comm.size))


def _counter_works(comm: Comm) -> bool:
    """Collective: whether ranks can draw from a shared counter without waiting for one another; warns if not."""
    try:
        counter = comm.counter()
    except RuntimeError as error:  # mpi4py's; on all ranks alike
        reason = f"this MPI has no one-sided communication ({error})"
    else:
        works = counter.come_while_rank_0_computes()
        counter.close()
        if works:
            return True
        reason = (
            "this MPI serves no requests while a rank computes: every rank would wait for rank 0's points"
        )
    if comm.is_root:
        log.warning("schedule.kind = dynamic: %s; the static schedule is used", reason)
    return False


def _place(grid: Grid, tile: schedule.Tile) -> str:
    first = ", ".join(f"{v:g}" for v in grid.coordinates(tile.points[:1])[0])
    return f"point ({first})" + (f" and {len(tile.points) - 1} more" if len(tile.points) > 1 else "")


def _tell_notes(comm: Comm, evaluator: Evaluator) -> None:
    """Collective: log one warning per condition, with the number of points on all ranks."""
    notes: Counter[str] = Counter()
    for met in comm.allgather(dict(evaluator.notes)):
        notes.update(met)
    if comm.is_root:
        for note, points in notes.items():
            log.warning("at %d points %s", points, note)


def to_evaluate(status: np.ndarray, retry_failed: bool = False) -> np.ndarray:
    """The points that a session evaluates, boolean (size,).

    Failed points are evaluated again if others are pending. If only failed points are left, they are evaluated on
    request only, so that a job that resubmits itself ends.
    """
    pending = status == Status.PENDING
    failed = status == Status.FAILED
    return pending | failed if retry_failed or pending.any() else pending


def _evaluate(grid: Grid, comm: Comm, evaluator: Evaluator, tile: schedule.Tile) -> Batch:
    """Evaluate a tile; if that raises, evaluate it point by point, so that one bad point does not affect the others."""
    try:
        result = _result(grid, evaluator, tile)
        return _batch(comm, evaluator, tile.points, result, Status.DONE)
    except Exception as error:
        if _is_fatal(error):
            raise
        if len(tile.points) > 1:
            single = [
                schedule.Tile(tile.index, tile.points[i : i + 1], range(p, p + 1))
                for i, p in enumerate(tile.points)
            ]
            return concatenate([_evaluate(grid, comm, evaluator, one) for one in single])
        coordinates = grid.coordinates(tile.points)
        place = ", ".join(f"{v:g}" for v in coordinates[0])
        if not coordinates.any():
            raise PointError(
                f"the centre ({place}) cannot be evaluated: {type(error).__name__}: {error}"
            ) from error
        log.warning("point (%s) failed: %s: %s", place, type(error).__name__, error)
        nothing = Evaluation(np.full((1, len(evaluator.names)), np.nan), np.zeros(1))
        return _batch(comm, evaluator, tile.points, nothing, Status.FAILED)


def _result(grid: Grid, evaluator: Evaluator, tile: schedule.Tile) -> Evaluation:
    """The results of the pending points, computed together with the others of the tile if they share arithmetic."""
    if not evaluator.whole_tiles:
        return evaluator.evaluate(grid.coordinates(tile.points))
    whole = evaluator.evaluate(grid.coordinates(np.array(tile.whole)))
    rows = tile.points - tile.whole.start
    columns = {name: values[rows] for name, values in whole.columns.items()}
    return Evaluation(whole.values[rows], whole.seconds[rows], columns)


def _is_fatal(error: Exception) -> bool:
    """Whether an error concerns the job, not the point: one of lsweep, the device, MPI or memory."""
    if isinstance(error, (LsweepError, MemoryError)):
        return True
    name = type(error).__name__
    return name in ("AcceleratorError", "OutOfMemoryError") or "CUDA" in str(error) or "MPI_" in str(error)


def _batch(comm: Comm, evaluator: Evaluator, points: np.ndarray, result: Evaluation, status: Status) -> Batch:
    given = result.columns
    return Batch(
        points=points,
        values=result.values,
        status=np.full(len(points), status, dtype=np.uint8),
        seconds=result.seconds.astype(np.float32),
        rank=np.full(len(points), comm.rank, dtype=np.int32),
        columns={
            name: np.asarray(given[name] if name in given else np.full(len(points), fill), dtype=dtype)
            for name, (dtype, fill) in evaluator.columns.items()
        },
    )
