"""The store's interface: results go in point by point, and become durable batch by batch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from lsweep.comm import Comm
from lsweep.store.batch import Batch, concatenate
from lsweep.surface import Surface


class Store(ABC):
    """Where results go. All ranks hold one; `put` never waits for another rank.

    Attributes:
        mode: "memory", "gather" or "mpio".
        names: the metrics, in the order of `Batch.values`.
        status: (size,) uint8, flat, as it was when the store was opened.
        guard: called before each batch is written; raises if this session may not write any more.
        on_durable: called with each batch that became durable, on the rank that wrote it.
    """

    mode = ""

    def __init__(
        self, comm: Comm, names: tuple[str, ...], status: np.ndarray, sync_seconds: float = 5.0
    ) -> None:
        self.names, self.status = names, status
        self.on_durable: Callable[[Batch], None] = lambda batch: None
        self.guard: Callable[[], None] = lambda: None
        self._comm, self._sync_seconds = comm, sync_seconds
        self._open: list[Batch] = []
        self._opened = 0.0

    def put(self, batch: Batch) -> None:
        """Take results. They are durable once `sync_seconds` have passed, or after `sync`."""
        if not self._open:
            self._opened = time.monotonic()
        self._open.append(batch)
        if time.monotonic() - self._opened >= self._sync_seconds:
            self.sync()

    def sync(self) -> None:
        """Close the open batch: durable now, or (gathered) as soon as rank 0 receives it."""
        if self._open:
            self.guard()
            batch, self._open = concatenate(self._open), []
            self._commit(batch)

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
        super().__init__(comm, names, status, sync_seconds)
        comm.on("batch", lambda source, batch: self._receive(batch))

    def _commit(self, batch: Batch) -> None:
        self._comm.post(0, "batch", batch)

    def _receive(self, batch: Batch) -> None:
        self.guard()  # it may have travelled for a while
        self._write(batch)

    @abstractmethod
    def _write(self, batch: Batch) -> None:
        """Make a batch durable, on rank 0."""
