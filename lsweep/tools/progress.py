"""Progress display: a bar on a terminal, timed lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any


class Progress:
    """Progress listener on rank 0, notified of every durable batch. This base class displays nothing."""

    def start(self, total: int, done: int) -> None:
        """Begin a sweep of `total` points, of which `done` are already complete."""

    def advance(self, points: int) -> None:
        """Count `points` more durable points."""

    def settle(self, points: int) -> None:
        """Subtract `points` points, which need not be evaluated, from the total."""

    def stop(self) -> None:
        """End the session."""


Silent = Progress


class Bar(Progress):
    """Progress bar for terminals and notebooks; `unit` names what it counts."""

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
    """Progress lines for batch logs: the first after 5 s, then at growing intervals of up to a minute.

    Args:
        write: called with one line, without a line break.
        clock: monotonic time in seconds.
        unit: name of what is counted.
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
    """A bar in a notebook or if standard error is a terminal, lines otherwise."""
    return Bar(unit) if in_notebook() or sys.stderr.isatty() else Lines(unit=unit)


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel. There tqdm draws an ipywidgets bar if ipywidgets is installed."""
    # If IPython has not been imported, this is not a kernel.
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return "IPKernelApp" in getattr(get_shell(), "config", ())


def duration(seconds: float) -> str:
    """Seconds as H:MM:SS or M:SS."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
