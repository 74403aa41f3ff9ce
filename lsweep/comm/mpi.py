"""Communicator over MPI."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lsweep.comm.base import Comm, T
from lsweep.comm.shared_counter import MpiCounter, SharedCounter

_NAP = 0.0005  # seconds between polls; MPI itself would spin and take the core from a rank that computes
_CHUNK = 1 << 30  # bytes per broadcast: counts are 32-bit in MPI 3


class MpiComm(Comm):
    """An MPI world."""

    def __init__(self, mpi_module: Any, communicator: Any) -> None:
        super().__init__()
        self._MPI = mpi_module
        self.mpi = communicator
        # A separate communicator for the mailbox, so that its tags cannot collide with those of a library or the store.
        self._mail = communicator.Dup()
        # Another one for leaving: a leaving rank's barrier must not match that of another rank's `quiesce`.
        self._exit = communicator.Dup()
        self._node = communicator.Split_type(mpi_module.COMM_TYPE_SHARED)
        self.rank, self.size = communicator.rank, communicator.size
        self.local_rank = self._node.rank
        self._leaders = communicator.Split(0 if self.local_rank == 0 else 1, self.rank)
        self._sent: list[Any] = []
        self._windows: list[Any] = []  # shared memory exists as long as its window

    def post(self, dest: int, tag: str, message: Any) -> None:
        """See `Comm.post`."""
        if dest == self.rank:
            self._deliver(dest, tag, message)
            return
        # Synchronous mode, so that completion means receipt, on which `quiesce` relies.
        self._sent.append(self._mail.issend((tag, message), dest=dest))

    def poll(self) -> None:
        """See `Comm.poll`."""
        status = self._MPI.Status()
        while self._mail.iprobe(status=status):
            tag, message = self._mail.recv(source=status.source, tag=status.tag)
            self._deliver(status.source, tag, message)
        self._tell_listened()
        self._sent = [request for request in self._sent if not request.test()[0]]

    def quiesce(self) -> None:
        """See `Comm.quiesce`. Nonblocking consensus (Hoefler, Siebert, Lumsdaine, PPoPP 2010)."""
        while True:
            while self._sent:
                self.poll()
                time.sleep(_NAP)
            barrier = self._mail.Ibarrier()
            while not barrier.Test():
                self.poll()
                time.sleep(_NAP)
            self.poll()
            # A handler may have sent a message after its rank entered the barrier: repeat.
            if not self._mail.allreduce(len(self._sent)):
                return

    def bcast(self, value: T) -> T:
        """See `Comm.bcast`."""
        result: T = self.mpi.bcast(value)
        return result

    def allgather(self, value: T) -> list[T]:
        """See `Comm.allgather`."""
        result: list[T] = self.mpi.allgather(value)
        return result

    def barrier(self) -> None:
        """See `Comm.barrier`."""
        self.mpi.Barrier()

    def share(self, nbytes: int, fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """See `Comm.share`."""
        window = self._MPI.Win.Allocate_shared(nbytes if self.local_rank == 0 else 0, 1, comm=self._node)
        self._windows.append(window)
        memory, _ = window.Shared_query(0)
        flat = np.frombuffer(memory, dtype=np.uint8, count=nbytes)
        self.on_root_only(lambda: fill(flat))
        if self.local_rank == 0:
            for start in range(0, nbytes, _CHUNK):
                self._leaders.Bcast(flat[start : start + _CHUNK])
        self._node.Barrier()
        return flat

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """See `Comm.temporary`."""
        kept = len(self._windows)
        yield  # after an error the windows stay: freeing is collective, and other ranks may not take part
        while len(self._windows) > kept:
            self._windows.pop().Free()

    def counter(self) -> SharedCounter:
        """See `Comm.counter`."""
        return MpiCounter(self._MPI, self.mpi)

    def all_here(self, seconds: float) -> bool:
        """See `Comm.all_here`."""
        barrier, end = self._exit.Ibarrier(), time.monotonic() + seconds
        while not barrier.Test():
            if time.monotonic() > end:
                return False
            time.sleep(_NAP)
        return True

    @property
    def library(self) -> str:
        """See `Comm.library`."""
        words = self._MPI.Get_library_version().replace("\0", " ").split()
        return " ".join(words[:4]).split(",")[0]

    def file_hints(self) -> Any:
        """See `Comm.file_hints`."""
        # ROMIO's data sieving is read-modify-write: it would overwrite other ranks' points with old bytes.
        info = self._MPI.Info.Create()
        info.Set("romio_ds_write", "disable")
        return info

    def abort(self, status: int) -> None:
        """See `Comm.abort`."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.mpi.Abort(status)
