"""Communicator of a single process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lsweep.comm.base import Comm, T


class SerialComm(Comm):
    """One process, without MPI."""

    def post(self, dest: int, tag: str, message: Any) -> None:
        """See `Comm.post`."""
        self._deliver(0, tag, message)

    def poll(self) -> None:
        """See `Comm.poll`."""
        self._tell_listened()

    def quiesce(self) -> None:
        """See `Comm.quiesce`."""

    def bcast(self, value: T) -> T:
        """See `Comm.bcast`."""
        return value

    def allgather(self, value: T) -> list[T]:
        """See `Comm.allgather`."""
        return [value]

    def barrier(self) -> None:
        """See `Comm.barrier`."""

    def share(self, nbytes: int, fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """See `Comm.share`."""
        memory = np.empty(nbytes, dtype=np.uint8)
        fill(memory)
        return memory

    def abort(self, status: int) -> None:
        """See `Comm.abort`."""
        os._exit(status)
