"""The sweep itself, in one sitting: pending points → tiles → evaluate → store.

Ranks never wait for one another between points. Results, progress and stop requests travel as messages that
are polled between points; only the end is collective.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass

import numpy as np

from lsweep import schedule
from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.errors import (
    EXIT_BAD_INPUT,
    EXIT_COMPLETE,
    EXIT_ERROR,
    EXIT_SOME_FAILED,
    EXIT_STOPPED,
    LsweepError,
    PointError,
    StoreError,
)
from lsweep.evaluation import Evaluation, Evaluator
from lsweep.progress import Progress, Silent
from lsweep.stop import Stop
from lsweep.store.base import Store
from lsweep.store.batch import Batch, concatenate
from lsweep.surface import Status

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class Outcome:
    """How a session ended, the same on every rank.

    Attributes:
        done, failed, pending: points of the whole grid by status.
        evaluated: points that became durable in this session.
        reason: why it stopped early, or "".
        broken: whether the output could not be written any more.
    """

    done: int
    failed: int
    pending: int
    evaluated: int
    reason: str = ""
    broken: bool = False

    @property
    def exit_status(self) -> int:
        """0 complete, 3 complete but some points failed, 75 stopped early and resumable, 1 no progress at all.

        A job that resubmits itself on 75 would do so for ever if it never came as far as one point. An output
        that could not take even one is bad input, 2.
        """
        if self.pending:
            return EXIT_STOPPED if self.evaluated else EXIT_BAD_INPUT if self.broken else EXIT_ERROR
        return EXIT_SOME_FAILED if self.failed else EXIT_COMPLETE


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
    mine = schedule.static_cyclic(work, comm.rank, comm.size)
    if comm.is_root and 0 < len(work) < comm.size:
        log.info(
            "%d of %d ranks stay idle: only %d tiles are pending", comm.size - len(work), comm.size, len(work)
        )

    books = _Books(config, comm, store, progress or Silent(), stop)
    books.open(int((store.status == Status.DONE).sum()))
    slowest = 0.0
    for tile in mine:
        comm.poll()
        if stop.due(slowest * len(tile.points)):
            break
        batch = _evaluate(config, comm, evaluator, tile)
        slowest = max(slowest, float(batch.seconds.max()))
        books.count(batch)
        store.put(batch)
    store.sync()
    if stop.reason:
        books.tell_to_stop()
    comm.quiesce()
    _tell_notes(comm, evaluator)
    return books.close()


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
        result = evaluator.evaluate(coordinates)
        return _batch(comm, tile.points, result, Status.DONE)
    except Exception as error:
        if _is_fatal(error):
            raise
        if len(tile.points) > 1:
            single = [schedule.Tile(tile.index, tile.points[i : i + 1]) for i in range(len(tile.points))]
            return concatenate([_evaluate(config, comm, evaluator, one) for one in single])
        place = ", ".join(f"{v:g}" for v in coordinates[0])
        if not coordinates.any():
            raise PointError(
                f"the centre ({place}) cannot be evaluated: {type(error).__name__}: {error}"
            ) from error
        log.warning("point (%s) failed: %s: %s", place, type(error).__name__, error)
        nothing = Evaluation(np.full((1, len(evaluator.names)), np.nan), np.zeros(1))
        return _batch(comm, tile.points, nothing, Status.FAILED)


def _is_fatal(error: Exception) -> bool:
    """Whether an error is the job's, not the point's: lsweep's own, the device's, MPI's or memory."""
    if isinstance(error, (LsweepError, MemoryError)):
        return True
    name = type(error).__name__
    return name in ("AcceleratorError", "OutOfMemoryError") or "CUDA" in str(error) or "MPI_" in str(error)


def _batch(comm: Comm, points: np.ndarray, result: Evaluation, status: Status) -> Batch:
    return Batch(
        points=points,
        values=result.values,
        status=np.full(len(points), status, dtype=np.uint8),
        seconds=result.seconds.astype(np.float32),
        rank=np.full(len(points), comm.rank, dtype=np.int32),
    )


class _Books:
    """Who has done how much: durable points are reported to rank 0, failures and stops to everybody."""

    def __init__(self, config: Config, comm: Comm, store: Store, progress: Progress, stop: Stop) -> None:
        self._config, self._comm, self._store = config, comm, store
        self._progress, self._stop = progress, stop
        self._failures = self._durable = 0
        comm.on("durable", lambda source, points: self._note(points))
        comm.on("failed", lambda source, points: self._note_failures(points))
        comm.on("stop", lambda source, reason: self._be_told(reason))
        store.on_durable, store.on_failure = self._acknowledge, self._give_up
        self._final = store.status.copy()
        self._told = False

    def open(self, done: int) -> None:
        hosts = ",".join(sorted(set(self._comm.allgather(self._comm.host))))
        self._store.begin_session(os.environ.get("SLURM_JOB_ID", ""), hosts)
        if self._comm.is_root:
            self._progress.start(self._config.grid.size, done)

    def count(self, batch: Batch) -> None:
        failed = int((batch.status == Status.FAILED).sum())
        if failed:
            self._comm.post(0, "failed", failed)

    def tell_to_stop(self) -> None:
        """Pass a stop on to the others, once, unless it came from one of them."""
        if self._told:
            return
        self._told = True
        for rank in range(self._comm.size):
            if rank != self._comm.rank:
                self._comm.post(rank, "stop", self._stop.reason)

    def close(self) -> Outcome:
        """Collective: agree on how it ended."""
        mine = np.flatnonzero(self._final != self._store.status)
        for points, status in self._comm.allgather((mine, self._final[mine])):
            self._final[points] = status
        reasons = [reason for reason in self._comm.allgather(self._stop.reason) if reason]
        broken = any(self._comm.allgather(self._store.failure is not None))
        if self._comm.is_root:
            self._store.update_session(self._durable)
            self._progress.stop()
        done, failed, pending = (
            int((self._final == s).sum()) for s in (Status.DONE, Status.FAILED, Status.PENDING)
        )
        reason = reasons[0] if reasons else ""
        return Outcome(done, failed, pending, self._comm.bcast(self._durable), reason, broken)

    def _be_told(self, reason: str) -> None:
        self._told = True
        self._stop.request(reason)

    def _acknowledge(self, batch: Batch) -> None:
        self._final[batch.points] = batch.status
        self._comm.post(0, "durable", len(batch))

    def _give_up(self, failure: StoreError) -> None:
        """Once a write has failed there is no use in evaluating more, here or elsewhere."""
        self._stop.request(f"{self._config.output!r} {failure}")
        self.tell_to_stop()

    def _note(self, points: int) -> None:
        self._durable += points
        self._progress.advance(points)
        self._store.update_session(self._durable)

    def _note_failures(self, points: int) -> None:
        self._failures += points
        if self._failures > self._config.evaluate.max_failures:
            raise PointError(
                f"{self._failures} points failed, more than evaluate.max_failures = "
                f"{self._config.evaluate.max_failures}: the job ends; see the log for why"
            )
