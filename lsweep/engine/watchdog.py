"""Watchdog: reports ranks that have been silent for too long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lsweep.tools.progress import duration

log = logging.getLogger("lsweep")

# How many times its slowest point a rank may be silent: points near a bad neighbour take longer.
_SLACK = 10.0


class Watchdog:
    """Watches one rank's own point and, on rank 0, the other ranks' signs of life.

    It sees through a thread of its own, which makes no MPI calls: the main thread may be the one that hangs.

    Args:
        ranks: the ranks' names, in order; empty where only the own point is watched.
        patience: seconds of silence before a first warning; the next comes after twice as long.
        say: takes one line.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        ranks: Sequence[str] = (),
        patience: float = 120.0,
        say: Callable[[str], None] = log.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ranks, self._patience, self._say, self._clock = list(ranks), patience, say, clock
        now = clock()
        self._heard = [now] * len(self._ranks)
        self._finished = [False] * len(self._ranks)
        self._warned: dict[int | str, float] = {}
        self._listened = now
        self._own: tuple[Callable[[], str], float] | None = None
        self._slowest = 0.0

    def heard(self, rank: int) -> None:
        """A sign of life."""
        if rank < len(self._heard):
            self._heard[rank] = self._clock()
            self._warned.pop(rank, None)

    def finished(self, rank: int) -> None:
        """That rank has nothing left to say."""
        if rank < len(self._finished):
            self._finished[rank] = True

    def resumed(self) -> None:
        """A new round begins: whoever was finished speaks again."""
        self._finished = [False] * len(self._ranks)
        self._heard = [self._clock()] * len(self._ranks)
        self._listened = self._clock()

    def listened(self) -> None:
        """This rank has just received what there was: silence before this moment is the others'."""
        self._listened = self._clock()

    def took(self, seconds: float) -> None:
        """A point took so long, here or elsewhere."""
        self._slowest = max(self._slowest, seconds)

    def begin(self, place: Callable[[], str]) -> None:
        """This rank starts to evaluate there; the words are only made if they are said."""
        self._own = (place, self._clock())
        self._warned.pop("own", None)

    def end(self) -> None:
        """This rank is between points."""
        self._own = None

    def look(self) -> None:
        """Warn of whoever has been silent for too long since the last warning."""
        own = self._own
        if own is not None:
            silent = self._clock() - own[1]
            if self._is_long("own", silent):
                self._warn("own", silent, f"this rank has been at {own[0]()} for {{}}{self._usual()}")
        for rank, name in enumerate(self._ranks):
            if not self._finished[rank]:
                silent = self._listened - self._heard[rank]
                self._warn(rank, silent, f"rank {rank} ({name}) has been silent for {{}}{self._usual()}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look now and then while the block runs."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(min(5.0, self._patience / 4)):
                self.look()

        thread = threading.Thread(target=watch, name="lsweep-watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _is_long(self, who: int | str, silent: float) -> bool:
        return silent > max(self._patience, _SLACK * self._slowest, 2 * self._warned.get(who, 0.0))

    def _warn(self, who: int | str, silent: float, text: str) -> None:
        if self._is_long(who, silent):
            self._warned[who] = silent
            self._say(text.format(duration(silent)))

    def _usual(self) -> str:
        return f"; until now the slowest point took {self._slowest:.3g} s" if self._slowest else ""
