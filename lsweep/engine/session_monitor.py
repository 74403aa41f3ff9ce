"""Session monitor: counts stored points on rank 0, and broadcasts failures and stop requests."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lsweep.comm import Comm
from lsweep.engine.plan import Options, Plan
from lsweep.engine.watchdog import Watchdog
from lsweep.errors import (
    EXIT_BAD_INPUT,
    EXIT_COMPLETE,
    EXIT_ERROR,
    EXIT_SOME_FAILED,
    EXIT_STOPPED,
    PointError,
    StoreError,
)
from lsweep.store.base import Batch, Store
from lsweep.surface import Status
from lsweep.tools.progress import duration

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class Outcome:
    """How a session ended, the same on every rank.

    Attributes:
        done, failed, pending, settled: points of the whole grid by status.
        evaluated: points that became durable in this session.
        reason: why it stopped early, or "".
        broken: whether the output could not be written any more.
        certificate: outcome of the certificate at the end of a sweep; None if none was begun.
    """

    done: int
    failed: int
    pending: int
    evaluated: int
    reason: str = ""
    broken: bool = False
    settled: int = 0
    certificate: Outcome | None = None

    @property
    def stopped(self) -> bool:
        """Whether points are left that the same command would evaluate."""
        return bool(self.pending or (self.certificate and self.certificate.pending))

    @property
    def exit_status(self) -> int:
        """0 complete, 3 complete but some points failed, 75 stopped early and resumable, 1 no progress at all.

        With 75 instead of 1, a job that resubmits itself and never completes a point would do so for ever. An output to
        which not even one point could be written is bad input, 2.
        """
        if self.pending:
            return EXIT_STOPPED if self.evaluated else EXIT_BAD_INPUT if self.broken else EXIT_ERROR
        own = EXIT_SOME_FAILED if self.failed else EXIT_COMPLETE
        if self.certificate is None:
            return own
        if self.certificate.pending:
            return EXIT_STOPPED if self.evaluated else self.certificate.exit_status
        return max(own, self.certificate.exit_status)


class SessionMonitor:
    """One rank's view of a running sweep; on rank 0, that of the whole job.

    Collective. Messages of other ranks are also reported to the watchdog.

    Args:
        plan, options, comm, store: as in `loop.run`.
        status: (size,) uint8, status of all points when the session begins.
        learn: called with the evaluated batches that became durable, on the rank that wrote them.
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        comm: Comm,
        store: Store,
        status: np.ndarray,
        learn: Callable[[Batch], None],
    ) -> None:
        self._plan, self._comm, self._store = plan, comm, store
        self._progress, self._stop, self._learn = options.progress, options.stop, learn
        self._failures = self._durable = 0
        self._before, self._final = status, status.copy()
        self._rounds = 0
        self._told = False
        self._pending = 0
        self._hosts = comm.allgather(comm.host)
        self.watch = Watchdog(self._hosts if comm.is_root else (), plan.patience)
        self._noted = False
        comm.on_sign_of_life = self.watch.heard
        comm.on_listened["monitor"] = self._listened
        comm.on("durable", lambda source, news: self._note(*news))
        comm.on("failed", lambda source, points: self._note_failures(points))
        comm.on("stop", lambda source, reason: self._be_told(reason))
        comm.on("finished", lambda source, _: self.watch.finished(source))
        store.on_durable, store.on_failure = self._acknowledge, self._give_up

    def open(self) -> None:
        """Record the session in the file, with its starting point."""
        self._store.begin_session(os.environ.get("SLURM_JOB_ID", ""), ",".join(sorted(set(self._hosts))))
        if self._comm.is_root:
            wanted = self._plan.grid.size - int((self._final == Status.SETTLED).sum())
            done = int((self._final == Status.DONE).sum())
            self._pending = wanted - done
            self._progress.start(wanted, done)

    def begin_round(self, tiles: int) -> None:
        """Begin a round of this many tiles."""
        self.watch.resumed()
        self._rounds += 1
        if self._comm.is_root and self._rounds == 1 and 0 < tiles < self._comm.size:
            log.info(
                "%d of %d ranks stay idle: only %d tiles are pending",
                self._comm.size - tiles,
                self._comm.size,
                tiles,
            )

    def stopped(self) -> bool:
        """Collective: whether any rank stops. A signal may reach only one rank, and between two rounds."""
        return any(self._comm.allgather(bool(self._stop.reason)))

    def count(self, batch: Batch, slowest: float) -> None:
        """Count a batch of this rank, with at most `slowest` seconds per point.

        It counts for others once it is durable; failures count at once.
        """
        self.watch.took(slowest)
        if self._comm.is_root and self._pending:
            seconds = slowest * self._pending / self._comm.size
            log.info("time     about %s: the first point took %.2g s", duration(seconds), slowest)
            self._pending = 0
        failed = np.count_nonzero(batch.status == Status.FAILED)
        if failed:
            self._comm.post(0, "failed", int(failed))

    def finished(self) -> None:
        """Report that this rank has no more points to evaluate, or stops."""
        if self._stop.reason:
            self.tell_to_stop()
        self._comm.post(0, "finished", None)

    def tell_to_stop(self) -> None:
        """Forward a stop request once: to rank 0, and from there to all ranks.

        A signal often reaches every rank; if each notified all others, there would be size² messages.
        """
        if self._told:
            return
        self._told = True
        for rank in range(1, self._comm.size) if self._comm.is_root else [0]:
            self._comm.post(rank, "stop", self._stop.reason)

    def close(self) -> Outcome:
        """Collective: agree on the outcome."""
        mine = np.flatnonzero(self._final != self._before)
        for points, status in self._comm.allgather((mine, self._final[mine])):
            self._final[points] = status
        reasons = [reason for reason in self._comm.allgather(self._stop.reason) if reason]
        broken = any(self._comm.allgather(self._store.failure is not None))
        if self._comm.is_root:
            self._store.update_session(self._durable)
            self._noted = False  # the file is closed soon
            self._progress.stop()
        done, failed, pending, settled = (
            int((self._final == s).sum())
            for s in (Status.DONE, Status.FAILED, Status.PENDING, Status.SETTLED)
        )
        reason = reasons[0] if reasons else ""
        return Outcome(done, failed, pending, self._comm.bcast(self._durable), reason, broken, settled)

    def _be_told(self, reason: str) -> None:
        self._stop.request(reason)
        if self._comm.is_root:
            self.tell_to_stop()
        self._told = True

    def _acknowledge(self, batch: Batch) -> None:
        self._final[batch.points] = batch.status
        if (batch.status == Status.SETTLED).all():
            self._progress.settle(len(batch))
            return
        self._learn(batch)
        self._comm.post(0, "durable", (len(batch), float(batch.seconds.max())))

    def _give_up(self, failure: StoreError) -> None:
        """After a failed write no rank needs to evaluate more points."""
        self._stop.request(f"{self._plan.output!r} {failure}")
        self.tell_to_stop()

    def _note(self, points: int, slowest: float) -> None:
        self.watch.took(slowest)
        self._durable += points
        self._progress.advance(points)
        self._noted = True

    def _listened(self) -> None:
        self.watch.listened()
        # Once for all messages that arrived together: thousands of ranks report every few seconds.
        if self._noted:
            self._noted = False
            self._store.update_session(self._durable)

    def _note_failures(self, points: int) -> None:
        self._failures += points
        if self._failures > self._plan.max_failures:
            raise PointError(
                f"{self._failures} points failed, more than evaluate.max_failures = "
                f"{self._plan.max_failures}: the job ends; see the log for the reasons"
            )
