"""Thread pool for batches that are too small to be parallelised within one operation.

torch divides an operation among threads only where it is large, and for small ones a second thread costs more than it
does: it waits in a loop. Here whole pieces of work are divided instead, and each is computed by one thread: its bits
do not depend on how many threads there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Workers:
    """As many threads as torch uses in the calling one, itself among them; the others start when first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._others = 0

    @contextmanager
    def side_by_side(self) -> Iterator[Map]:
        """Gives a `map` whose results come in order; torch uses one thread for an operation until the end.

        It is done when it returns. A thread takes a piece when it has done the one before. Work is done without
        gradients.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield map if threads == 1 else self._map_of(threads - 1)
        finally:
            torch.set_num_threads(threads)

    def _map_of(self, others: int) -> Map:
        if self._pool is None or self._others != others:
            self._pool, self._others = ThreadPoolExecutor(others, "lsweep", _alone), others
        pool = self._pool

        def in_order(work: Callable[[Any], Any], pieces: Iterable[Any]) -> list[Any]:
            share = _Share(work, pieces)
            running = [pool.submit(share.take_part) for _ in range(others)]
            share.take_part()
            for future in running:
                future.result()
            return share.results()

        return in_order


class _Share:
    """Pieces of work that several threads take one by one."""

    def __init__(self, work: Callable[[Any], Any], pieces: Iterable[Any]) -> None:
        self._work, self._left = work, enumerate(pieces)
        self._lock = threading.Lock()
        self._found: dict[int, Any] = {}
        self._error: BaseException | None = None

    @torch.no_grad()  # a property of the thread
    def take_part(self) -> None:
        """Work until nothing is left, or an error has come up in any thread."""
        try:
            while self._error is None:
                with self._lock:
                    number, piece = next(self._left, (-1, None))
                if number < 0:
                    return
                self._found[number] = self._work(piece)
        except BaseException as error:
            self._error = error

    def results(self) -> list[Any]:
        """In order, once all have stopped.

        Raises:
            Exception: the error that came up.
        """
        if self._error is not None:
            raise self._error
        return [self._found[number] for number in range(len(self._found))]


def _alone() -> None:
    torch.set_num_threads(1)
