"""Store interface, batches of results, and the code that the stores share."""

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
        status: (k,) uint8, `Status.DONE` or `Status.FAILED`; or `Status.SETTLED` for all points of the batch.
        seconds: (k,) float32.
        rank: (k,) int32, the rank that evaluated the point.
        columns: (k,) each, the store's further numbers per point; a missing one keeps its fill value.
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
    """Join batches into one, sorted by point, so that neighbours are written in one run."""
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
    """Split increasing flat indices into contiguous runs, each within one row of `row` points.

    Returns:
        (first, last + 1) positions in `points`, one pair per run.
    """
    breaks = (np.diff(points) != 1) | (points[1:] % row == 0)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(points)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


class Store(ABC):
    """Stores results. Every rank has one; `put` never waits for another rank.

    Attributes:
        mode: "memory", "gather" or "mpio".
        names: the metrics, in the order of `Batch.values`.
        status: (size,) uint8, flat, as it was when the store was opened.
        values: (metrics, size) float64, flat, as they were when the store was opened, NaN where not done; only on
            rank 0 and for a file with a refined grid. None otherwise.
        guard: called before each batch is written; raises if this session may no longer write.
        on_durable: called with each batch that became durable, on the rank that wrote it.
        on_failure: called once, on the rank whose write failed.
        span: context manager for the time of each write; rank 0 may write while it receives messages.
        failure: the error after which nothing more is written, or None. Points reported as durable stay durable.
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
        # Each rank closes its first batch early by a different amount: otherwise all ranks would always write at once.
        self._early = sync_seconds * comm.rank / comm.size

    def put(self, batch: Batch) -> None:
        """Add results. They are durable after `sync_seconds`, or after `sync`."""
        if not self._open:
            self._opened, self._early = time.monotonic() - self._early, 0.0
        self._open.append(batch)
        if time.monotonic() - self._opened >= self._sync_seconds:
            self._close_batch()

    def sync(self) -> None:
        """Write the open batch before a pause: it is durable now or, when gathered, as soon as rank 0 receives it."""
        self._close_batch()

    def _close_batch(self) -> None:
        if self._open:
            self.guard()
            batch, self._open = concatenate(self._open), []
            self._commit(batch)

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Write unless an earlier write failed; return whether it succeeded.

        After a failure HDF5 may still hold bytes that it could not write. Nothing more is written then: a later
        success would mark points as done whose values are missing.
        """
        if self.failure is None:
            try:
                with self.span():
                    write()
            except (OSError, RuntimeError) as error:  # h5py raises either, depending on where the call failed
                self.failure = _in_words(error)
                self.on_failure(self.failure)
        return self.failure is None

    def _let_go(self, close: Callable[[], None]) -> None:
        """Close, also after a failed write, when HDF5 may fail again at the bytes that it could not write."""
        try:
            close()
        except (OSError, RuntimeError) as error:
            self.failure = self.failure or _in_words(error)

    @abstractmethod
    def _commit(self, batch: Batch) -> None:
        """Make a batch durable, or send it to the rank that does."""

    def begin_session(self, job: str, hosts: str) -> None:  # noqa: B027 - memory keeps no sessions
        """Record a new session in the file, on rank 0."""

    def update_session(self, points: int) -> None:  # noqa: B027
        """Record the number of points that became durable in this session, on rank 0."""

    @abstractmethod
    def close(self) -> None:
        """Collective: close the file. All results must have been synced and all messages delivered."""

    @abstractmethod
    def surface(self) -> Surface | None:
        """Return the result on rank 0, after `close`; None on other ranks."""


class GatheringStore(Store):
    """A store that only rank 0 writes; other ranks send it their batches as messages."""

    def __init__(
        self, comm: Comm, names: tuple[str, ...], status: np.ndarray, sync_seconds: float = 5.0
    ) -> None:
        # A batch is open for half of the time and waits on rank 0 for up to the other half.
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
        """See `Store.sync`. Until the next `put`, rank 0 writes arriving batches at once."""
        self._evaluating = False
        super().sync()

    def _commit(self, batch: Batch) -> None:
        if not self._comm.is_root:
            self._comm.post(0, "batch", batch)
            return
        self._arrived.append(batch)
        self._write_arrived()

    def _listened(self) -> None:
        """Write the batches that arrived in one go, and rarely while rank 0 evaluates: each write waits for the disk.

        Otherwise rank 0 would spend its time on writing, with two syncs for every batch of every rank.
        """
        due = not self._evaluating or time.monotonic() - self._written >= self._sync_seconds
        if self._arrived and due:
            self.guard()  # checked again, because the message may have taken a while
            self._write_arrived()

    def _write_arrived(self) -> None:
        batch, self._arrived = concatenate(self._arrived), []
        self._write(batch)
        self._written = time.monotonic()

    @abstractmethod
    def _write(self, batch: Batch) -> None:
        """Make a batch durable, on rank 0."""


def _in_words(error: Exception) -> StoreError:
    """Convert a failed write to a readable error. HDF5 and MPI-IO hide the system's reason in a long text."""
    number = getattr(error, "errno", None)
    found = re.search(r"errno = (\d+)", str(error))
    if number is None and found:
        number = int(found[1])
    if number is None and re.search("NO_SPACE|QUOTA", str(error)):
        number = errno.ENOSPC
    reason = os.strerror(number) if number else f"{type(error).__name__}: {str(error)[:200]}"
    return StoreError(f"cannot be written any more: {reason}", errno=number)
