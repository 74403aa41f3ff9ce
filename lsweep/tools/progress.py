"""Progress display: a bar on a terminal, timed lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any


class Progress:
    """Notified of every batch that became durable, on rank 0. This one displays nothing."""

    def start(self, total: int, done: int) -> None:
        """A sweep of `total` points begins, of which `done` are there already."""

    def advance(self, points: int) -> None:
        """So many more points are durable."""

    def settle(self, points: int) -> None:
        """So many points need not be evaluated."""

    def stop(self) -> None:
        """The session ends."""


Silent = Progress


class Bar(Progress):
    """A bar that redraws itself, for terminals and notebooks; `unit` is what it counts."""

    def __init__(self, unit: str = "point") -> None:
        self._bar: Any = None
        self._unit = unit

    def start(self, total: int, done: int) -> None:
        """See `Progress`."""
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, initial=done, unit=self._unit, dynamic_ncols=True, smoothing=0.1)

    def advance(self, points: int) -> None:
        """See `Progress`."""
        self._bar.update(points)

    def settle(self, points: int) -> None:
        """See `Progress`."""
        self._bar.total -= points
        self._bar.refresh()

    def stop(self) -> None:
        """See `Progress`."""
        if self._bar is not None:
            self._bar.close()


class Lines(Progress):
    """A line now and then, for batch logs: often at first, then every minute.

    Args:
        write: takes one line, without its end.
        clock: seconds, monotonic.
        unit: what is counted.
    """

    def __init__(
        self,
        write: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        clock: Callable[[], float] = time.monotonic,
        unit: str = "point",
    ) -> None:
        self._write, self._clock, self._unit = write, clock, unit
        self._total = self._before = self._done = 0
        self._started = self._next = 0.0
        self._pause = 5.0

    def start(self, total: int, done: int) -> None:
        """See `Progress`."""
        self._total, self._before, self._done = total, done, done
        self._started = self._clock()
        self._next = self._started + self._pause

    def advance(self, points: int) -> None:
        """See `Progress`."""
        self._done += points
        if self._clock() >= self._next:
            self._pause = min(60.0, 2 * self._pause)
            self._next = self._clock() + self._pause
            self._write(self._line())

    def settle(self, points: int) -> None:
        """See `Progress`."""
        self._total -= points

    def stop(self) -> None:
        """See `Progress`."""
        self._write(self._line())

    def _line(self) -> str:
        elapsed = max(1e-9, self._clock() - self._started)
        rate = (self._done - self._before) / elapsed
        share = 100 * self._done / max(1, self._total)
        left = f", {duration((self._total - self._done) / rate)} left" if rate > 0 else ""
        return (
            f"{time.strftime('%H:%M:%S')}  {self._done}/{self._total} {self._unit}s ({share:.1f} %), "
            f"{rate:.3g} {self._unit}s/s, {duration(elapsed)} elapsed{left}"
        )


def default(unit: str = "point") -> Progress:
    """A bar in a notebook and where standard error is a terminal, lines elsewhere."""
    return Bar(unit) if in_notebook() or sys.stderr.isatty() else Lines(unit=unit)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; where tqdm finds ipywidgets, its bar is one of theirs."""
    # What nobody has imported yet is not running either.
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return "IPKernelApp" in getattr(get_shell(), "config", ())


def duration(seconds: float) -> str:
    """Seconds as H:MM:SS or M:SS."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
