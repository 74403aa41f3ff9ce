"""Communicator: the operations of a group of ranks, here for a single process; `MpiComm` overrides them for many."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from lsweep.comm.shared_counter import SharedCounter
from lsweep.errors import LsweepError

T = TypeVar("T")
Handler = Callable[[int, Any], None]


class Comm:
    """A group of ranks with a mailbox; this class is a group of one, without MPI.

    `poll` is called between points and passes each message to the handler of its tag.

    Attributes:
        rank, size: this rank and the number of ranks.
        local_rank: this rank's number among those on its host.
        host: this host's name.
        on_sign_of_life: called with the source rank of every message.
        on_listened: name → function that is called after all messages that had arrived were delivered.
    """

    rank = 0
    size = 1
    local_rank = 0
    host = socket.gethostname()
    mpi: Any = None  # the mpi4py communicator, for the parallel store

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self.on_sign_of_life: Callable[[int], None] = lambda source: None
        self.on_listened: dict[str, Callable[[], None]] = {}

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def on(self, tag: str, handler: Handler) -> None:
        """Register `handler(source, message)` for a tag; `poll` and `quiesce` call it."""
        self._handlers[tag] = handler

    def _deliver(self, source: int, tag: str, message: Any) -> None:
        self.on_sign_of_life(source)
        self._handlers[tag](source, message)

    def _tell_listened(self) -> None:
        for listener in self.on_listened.values():
            listener()

    def post(self, dest: int, tag: str, message: Any) -> None:
        """Send without waiting; a message to this rank itself is delivered at once."""
        self._deliver(0, tag, message)

    def poll(self) -> None:
        """Deliver the messages that have arrived."""
        self._tell_listened()

    def quiesce(self) -> None:
        """Collective: deliver messages until no message of any rank is outstanding."""

    def bcast(self, value: T) -> T:
        """Collective: return rank 0's value."""
        return value

    def allgather(self, value: T) -> list[T]:
        """Collective: return every rank's value, in rank order."""
        return [value]

    def barrier(self) -> None:
        """Collective: wait for all ranks."""

    def share(self, nbytes: int, fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """Collective: allocate memory once per host, which its ranks share: uint8 (nbytes,), read-only.

        Rank 0 calls `fill`, which writes the bytes in place, so that rank 0 needs no second copy.
        """
        memory = np.empty(nbytes, dtype=np.uint8)
        fill(memory)
        return memory

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """Collective: free the memory that is shared inside the block at its end; no reference to it may remain."""
        yield

    def counter(self) -> SharedCounter:
        """Collective: create a counter that all ranks share."""
        return SharedCounter()

    def all_here(self, seconds: float) -> bool:
        """Whether all ranks call this within that many seconds."""
        return True

    @property
    def library(self) -> str:
        """The name and version of the MPI library, "" without one."""
        return ""

    def file_hints(self) -> Any:
        """MPI-IO hints for opening a shared file."""
        raise NotImplementedError("a process without MPI has no MPI-IO")

    def abort(self, status: int) -> None:
        """End the job at once, on every rank."""
        os._exit(status)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Collective: if the block fails on any rank, raise the error of the lowest such rank on all ranks.

        The block must not communicate. An lsweep error is raised on every rank. For an unexpected error, the failed
        rank prints the traceback and raises the original exception.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
            if not isinstance(caught, LsweepError):
                traceback.print_exc()
        known = [_portable(e) for e in self.allgather(error if error is None else _portable(error))]
        first = next((e for e in known if e is not None), None)
        if first is not None:
            raise error if error is not None and not isinstance(error, LsweepError) else first

    def on_root_only(self, function: Callable[[], T]) -> T | None:
        """Collective: call `function` on rank 0 and return its value there; raise its error on all ranks."""
        value = None
        with self.together():
            if self.is_root:
                value = function()
        return value

    def on_root(self, function: Callable[[], T]) -> T:
        """Collective: call `function` on rank 0 and return its value, or raise its error, on all ranks."""
        value: Any = self.on_root_only(function)
        result: T = self.bcast(value)
        return result


def _portable(error: Exception | None) -> Exception | None:
    """Convert an error to one that can be pickled and raised on another rank."""
    if error is None or isinstance(error, LsweepError):
        return error
    return LsweepError(f"{type(error).__name__}: {error}")
