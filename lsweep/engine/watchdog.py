"""Watchdog: reports ranks that have been silent for too long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lsweep.tools.progress import duration

log = logging.getLogger("lsweep")

# A rank may be silent for this multiple of its slowest point: some points take longer.
_SLACK = 10.0


class Watchdog:
    """Watches the current point of this rank and, on rank 0, the messages of the other ranks.

    It runs in a separate thread without MPI calls, because the main thread may hang.

    Args:
        ranks: names of the ranks, in order; empty if only this rank's point is watched.
        patience: seconds of silence before the first warning; the interval doubles after each.
        say: reports one line.
        clock: monotonic time in seconds.
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
        """Record a message from that rank."""
        if rank < len(self._heard):
            self._heard[rank] = self._clock()
            self._warned.pop(rank, None)

    def finished(self, rank: int) -> None:
        """Record that the rank is finished and will send no more messages."""
        if rank < len(self._finished):
            self._finished[rank] = True

    def resumed(self) -> None:
        """Begin a new round, in which finished ranks send messages again."""
        self._finished = [False] * len(self._ranks)
        self._heard = [self._clock()] * len(self._ranks)
        self._listened = self._clock()

    def listened(self) -> None:
        """Record that this rank has just received its messages: earlier silence is due to the other ranks."""
        self._listened = self._clock()

    def took(self, seconds: float) -> None:
        """Record the duration of a point, on any rank."""
        self._slowest = max(self._slowest, seconds)

    def begin(self, place: Callable[[], str]) -> None:
        """Record that this rank begins a point; its description is only formatted if it is reported."""
        self._own = (place, self._clock())
        self._warned.pop("own", None)

    def end(self) -> None:
        """Record that this rank is between points."""
        self._own = None

    def look(self) -> None:
        """Warn of ranks that have been silent for too long since the last warning."""
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
        """Check periodically while the block runs."""
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
