"""Store interface, batches of results, and what the stores share."""

from __future__ import annotations

import errno
import math
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from lsweep.comm import Comm
from lsweep.errors import StoreError
from lsweep.surface import Surface


@dataclass(frozen=True)
class Batch:
    """Results of k points.

    Attributes:
        points: (k,) int64 flat indices into the grid, C order.
        values: (k, metrics) float64, in the store's order of names; NaN for a failed point.
        status: (k,) uint8, `Status.DONE` or `Status.FAILED`; or `Status.SETTLED`, of all points of the batch.
        seconds: (k,) float32.
        rank: (k,) int32, who evaluated.
        columns: (k,) each, the store's further numbers per point; one that is absent keeps its fill value.
    """

    points: np.ndarray
    values: np.ndarray
    status: np.ndarray
    seconds: np.ndarray
    rank: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Join batches into one, in order of points, so that neighbours can be written in one run."""
    order = np.argsort(np.concatenate([batch.points for batch in batches]), kind="stable")

    def joined(part: Callable[[Batch], np.ndarray]) -> np.ndarray:
        return np.concatenate([part(batch) for batch in batches])[order]

    return Batch(
        points=joined(lambda b: b.points),
        values=joined(lambda b: b.values),
        status=joined(lambda b: b.status),
        seconds=joined(lambda b: b.seconds),
        rank=joined(lambda b: b.rank),
        columns={name: joined(lambda b, name=name: b.columns[name]) for name in batches[0].columns},  # type: ignore[misc]
    )


def runs(points: np.ndarray, row: int) -> list[tuple[int, int]]:
    """Cut increasing flat indices into contiguous runs that stay within one row of `row` points.

    Returns:
        (first, last + 1) positions in `points`, one pair per run.
    """
    breaks = (np.diff(points) != 1) | (points[1:] % row == 0)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(points)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


class Store(ABC):
    """Where results go. All ranks hold one; `put` never waits for another rank.

    Attributes:
        mode: "memory", "gather" or "mpio".
        names: the metrics, in the order of `Batch.values`.
        status: (size,) uint8, flat, as it was when the store was opened.
        values: (metrics, size) float64, alike, NaN where not done; only on rank 0, of a file whose grid is
            refined. None elsewhere.
        guard: called before each batch is written; raises if this session may not write any more.
        on_durable: called with each batch that became durable, on the rank that wrote it.
        on_failure: called once, on the rank whose write failed.
        span: entered around whatever is written: one rank's message may be another one's store.
        failure: why nothing is written any more, once a write has failed; what was acknowledged stays.
    """

    mode = ""
    values: np.ndarray | None = None
    failure: StoreError | None = None

    def __init__(
        self, comm: Comm, names: tuple[str, ...], status: np.ndarray, sync_seconds: float = 5.0
    ) -> None:
        self.names, self.status = names, status
        self.on_durable: Callable[[Batch], None] = lambda batch: None
        self.on_failure: Callable[[StoreError], None] = lambda failure: None
        self.guard: Callable[[], None] = lambda: None
        self.span: Callable[[], AbstractContextManager[None]] = nullcontext
        self._comm, self._sync_seconds = comm, sync_seconds
        self._open: list[Batch] = []
        self._opened = 0.0
        # A rank closes its first batch early, each at another time: else all would come to the disk at once, always.
        self._early = sync_seconds * comm.rank / comm.size

    def put(self, batch: Batch) -> None:
        """Take results. They are durable once `sync_seconds` have passed, or after `sync`."""
        if not self._open:
            self._opened, self._early = time.monotonic() - self._early, 0.0
        self._open.append(batch)
        if time.monotonic() - self._opened >= self._sync_seconds:
            self._close_batch()

    def sync(self) -> None:
        """Close the open batch, before a pause: durable now, or (gathered) as soon as rank 0 receives it."""
        self._close_batch()

    def _close_batch(self) -> None:
        if self._open:
            self.guard()
            batch, self._open = concatenate(self._open), []
            self._commit(batch)

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Write, unless that failed before; return whether it worked.

        After a failure HDF5 may still hold bytes that it could not write, so nothing more is tried: a later
        success would acknowledge points on top of values that are not there.
        """
        if self.failure is None:
            try:
                with self.span():
                    write()
            except (OSError, RuntimeError) as error:  # h5py raises either, by the depth of the failed call
                self.failure = _in_words(error)
                self.on_failure(self.failure)
        return self.failure is None

    def _let_go(self, close: Callable[[], None]) -> None:
        """Close, also after a failed write, when HDF5 may fail once more at what it could not write."""
        try:
            close()
        except (OSError, RuntimeError) as error:
            self.failure = self.failure or _in_words(error)

    @abstractmethod
    def _commit(self, batch: Batch) -> None:
        """Make a batch durable, or send it to the rank that will."""

    def begin_session(self, job: str, hosts: str) -> None:  # noqa: B027 - memory keeps no sessions
        """Note on rank 0 who works on the file now."""

    def update_session(self, points: int) -> None:  # noqa: B027
        """Note on rank 0 how many points became durable in this session."""

    @abstractmethod
    def close(self) -> None:
        """Collective: let go of the file. Everything must have been synced and the mailbox quiesced."""

    @abstractmethod
    def surface(self) -> Surface | None:
        """On rank 0, after `close`: the result. None elsewhere."""


class GatheringStore(Store):
    """A store that only rank 0 writes: batches travel by the mailbox."""

    def __init__(
        self, comm: Comm, names: tuple[str, ...], status: np.ndarray, sync_seconds: float = 5.0
    ) -> None:
        # A batch is open for half the time, and waits on rank 0 for up to the other half.
        super().__init__(comm, names, status, sync_seconds if comm.size == 1 else sync_seconds / 2)
        self._arrived: list[Batch] = []
        self._written = -math.inf
        self._evaluating = False
        comm.on("batch", lambda source, batch: self._arrived.append(batch))
        comm.on_listened["store"] = self._listened

    def put(self, batch: Batch) -> None:
        """See `Store.put`."""
        self._evaluating = True
        super().put(batch)

    def sync(self) -> None:
        """See `Store.sync`. Until it puts again, this rank has time for what arrives."""
        self._evaluating = False
        super().sync()

    def _commit(self, batch: Batch) -> None:
        if not self._comm.is_root:
            self._comm.post(0, "batch", batch)
            return
        self._arrived.append(batch)
        self._write_arrived()

    def _listened(self) -> None:
        """Write what arrived together, and seldom while there are points to evaluate: each write waits for the disk.

        Rank 0 would otherwise spend its time on it: two syncs for every rank's every batch.
        """
        due = not self._evaluating or time.monotonic() - self._written >= self._sync_seconds
        if self._arrived and due:
            self.guard()  # it may have travelled for a while
            self._write_arrived()

    def _write_arrived(self) -> None:
        batch, self._arrived = concatenate(self._arrived), []
        self._write(batch)
        self._written = time.monotonic()

    @abstractmethod
    def _write(self, batch: Batch) -> None:
        """Make a batch durable, on rank 0."""


def _in_words(error: Exception) -> StoreError:
    """A failed write as the user should read it. HDF5 and MPI-IO hide the system's reason in a long text."""
    number = getattr(error, "errno", None)
    found = re.search(r"errno = (\d+)", str(error))
    if number is None and found:
        number = int(found[1])
    if number is None and re.search("NO_SPACE|QUOTA", str(error)):
        number = errno.ENOSPC
    reason = os.strerror(number) if number else f"{type(error).__name__}: {str(error)[:200]}"
    return StoreError(f"cannot be written any more: {reason}", errno=number)
