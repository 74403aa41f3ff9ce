"""Threads that compute side by side, each by itself: for work too small to be shared within an operation.

torch divides an operation among threads only where it is large, and for small ones a second thread costs more than it
does: it waits in a loop. Here whole pieces of work are divided instead, and each is computed by one thread: its bits
do not depend on how many threads there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import torch

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

# Pieces that lie ready for each thread, so that none waits while the caller prepares the next.
_AHEAD = 2


class Workers:
    """As many threads as torch uses in the calling one; started when they are first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    @contextmanager
    def side_by_side(self) -> Iterator[Map]:
        """Gives a `map` whose results come in order; torch uses one thread for an operation until the end.

        Only few pieces are taken ahead of what was asked for. Workers compute without gradients.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield map if threads == 1 else self._pool_of(threads)
        finally:
            torch.set_num_threads(threads)

    def _pool_of(self, threads: int) -> Map:
        if self._pool is None or self._size != threads:
            self._pool, self._size = ThreadPoolExecutor(threads, "lsweep", _alone), threads
        pool = self._pool

        def in_order(work: Callable[[Any], Any], pieces: Iterable[Any]) -> Iterator[Any]:
            running: deque[Future[Any]] = deque()
            try:
                for piece in pieces:
                    running.append(pool.submit(_without_gradients, work, piece))
                    if len(running) >= threads * _AHEAD:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                for future in running:
                    future.cancel()
                wait(running)  # what goes on in vain would hold memory that the next try may need

        return in_order


def _alone() -> None:
    torch.set_num_threads(1)


def _without_gradients(work: Callable[[Any], Any], piece: Any) -> Any:
    with torch.no_grad():  # a property of the thread
        return work(piece)
