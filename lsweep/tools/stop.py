"""Stop requests: a signal, a time limit or the end of the job stops a sweep between two points."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lsweep.errors import ConfigError
from lsweep.tools import slurm_job

# USR2, not USR1: communication libraries use USR1 themselves. Schedulers send TERM at the end.
SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
# Seconds kept free before a job's end, on top of a few points' time, to make results durable and finalise MPI.
MARGIN = 20.0
# The margin is at most this share of a limit that the user gives, because no scheduler kills the job at that limit.
_SHARE = 0.1


class Stop:
    """A stop request and its reason.

    Attributes:
        reason: why to stop, or "".
        deadline: Unix time by which the last point should be done, or None.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self.reason = ""
        self.deadline = deadline

    def request(self, reason: str) -> None:
        """Request a stop before the next point; the first reason is kept."""
        self.reason = self.reason or reason

    def due(self, seconds_per_point: float = 0.0) -> bool:
        """Whether to stop before a point that may take `seconds_per_point`."""
        if self.deadline is not None and time.time() + 2 * seconds_per_point > self.deadline:
            self.request("the time limit is near")
        return bool(self.reason)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let signals request a stop. A second signal has its default effect."""
        previous = {number: signal.getsignal(number) for number in SIGNALS}

        def handle(number: int, frame: FrameType | None) -> None:
            self.request(f"received {signal.Signals(number).name}")
            signal.signal(number, signal.SIG_DFL)

        for number in SIGNALS:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not Python's


def check_limit(limit: str | None) -> None:
    """Check `--time-limit` before any work.

    Raises:
        ConfigError: it is not [[HH:]MM:]SS or D-HH:MM:SS.
    """
    if limit is not None:
        _seconds(limit)


def deadline(limit: str | None) -> float | None:
    """The Unix time by which the last point should be done: a margin before `--time-limit` or the end of the job.

    May query Slurm, so call it on rank 0 only.

    Raises:
        ConfigError: the limit is not [[HH:]MM:]SS or D-HH:MM:SS.
    """
    ends = []
    if limit is not None:
        seconds = _seconds(limit)
        ends.append(time.time() + seconds - min(MARGIN, _SHARE * seconds))
    job_end = slurm_job.end_time()
    if job_end is not None:
        ends.append(job_end - MARGIN)
    return min(ends, default=None)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(?:(?:(\d{1,9})-)?(\d{1,9}):)?(?:(\d{1,9}):)?(\d{1,9})", text.strip())
    parts = [int(p) for p in re.split(r"[-:]", text.strip())] if match else []
    if not match or ("-" in text and len(parts) != 4):
        raise ConfigError(f"a time limit is [[HH:]MM:]SS or D-HH:MM:SS; got {text!r}", key="--time-limit")
    scale = (1, 60, 3600, 86400)
    return float(sum(p * s for p, s in zip(reversed(parts), scale, strict=False)))
