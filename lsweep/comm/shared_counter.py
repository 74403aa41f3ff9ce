"""Shared counter: gives each number to exactly one rank, for dynamic scheduling.

The counter lies in the memory of rank 0 and is incremented by `MPI_Fetch_and_op`. Rank 0 need not take part if the
fabric completes one-sided operations without it, which not every fabric does: see `come_while_rank_0_computes`.
"""

from __future__ import annotations

import statistics
import time
from itertools import count
from typing import Any

import numpy as np

# Seconds for which rank 0 makes no MPI call while the others fetch: long compared with a fetch, short compared with
# the start of a run.
_NAP = 0.3
_TRIALS = 4


class SharedCounter:
    """Counts 0, 1, 2, … and gives each number to one rank; this class is for a single process."""

    def __init__(self) -> None:
        self._numbers = count()

    def take(self) -> int:
        """Return the next number. The following one is prefetched, and arrives during the work on this one."""
        return next(self._numbers)

    def come_while_rank_0_computes(self) -> bool:
        """Collective: whether the other ranks can fetch a number while rank 0 makes no MPI calls."""
        return True

    def close(self) -> None:
        """Collective: free the counter."""


class MpiCounter(SharedCounter):
    """The shared counter of an MPI communicator; creating it is collective.

    Args:
        mpi: the module `mpi4py.MPI`; only `lsweep.comm` imports it.
        communicator: the counter lies in the memory of its rank 0.
    """

    def __init__(self, mpi: Any, communicator: Any) -> None:
        self._sum, self._comm = mpi.SUM, communicator
        self._window = mpi.Win.Allocate(8 if communicator.rank == 0 else 0, 8, comm=communicator)
        if communicator.rank == 0:
            self._window.Lock(0)
            np.frombuffer(self._window.tomemory(), dtype=np.int64)[0] = 0
            self._window.Unlock(0)
        communicator.Barrier()
        self._window.Lock_all()
        self._claimed: np.ndarray | None = None

    def take(self) -> int:
        """See `SharedCounter`."""
        claimed = self._ask(1) if self._claimed is None else self._claimed
        self._window.Flush(0)
        ticket = int(claimed[0])
        self._claimed = self._ask(1)
        return ticket

    def come_while_rank_0_computes(self) -> bool:
        """See `SharedCounter`. With `osc/pt2pt`, for example, a fetch waits until rank 0's next MPI call.

        Tried several times, because on an overcrowded machine a fetch may be late for lack of a free core.
        """
        return any(self._fetches_in_time() for _ in range(_TRIALS))

    def _fetches_in_time(self) -> bool:
        self._comm.Barrier()
        if self._comm.rank == 0:
            time.sleep(_NAP)
            taken = 0.0
        else:
            time.sleep(_NAP / 6)  # until rank 0 has left the barrier
            start = time.monotonic()
            self._ask(0)
            self._window.Flush(0)
            taken = time.monotonic() - start
        others = self._comm.allgather(taken)[1:]
        # The median, because single fetches may be late on an overcrowded machine.
        return not others or statistics.median(others) < _NAP / 3

    def close(self) -> None:
        """See `SharedCounter`."""
        self._window.Flush(0)  # completes the fetch of a number that was never taken
        self._window.Unlock_all()
        self._window.Free()

    def _ask(self, step: int) -> np.ndarray:
        answer = np.empty(1, dtype=np.int64)
        self._step = np.array([step], dtype=np.int64)  # must live until the flush
        self._window.Fetch_and_op(self._step, answer, 0, op=self._sum)
        return answer
