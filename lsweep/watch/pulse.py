"""Liveness of a sweep, from changes of its file and from its lock.

Clocks of different machines are never compared: over NFS they may be minutes apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lsweep.tools import lock
from lsweep.tools.lock import Holder
from lsweep.tools.progress import duration

# A sweep counts as running for this many seconds after a change; longer than a batch is buffered by default.
FRESH = 8.0
# Bounds on the seconds between two checks of the lock, else half the silence. For a holder elsewhere each asks Slurm.
OFTEN, SELDOM = 4.0, 60.0
_SILENT = 20.0  # seconds without a change before the silence is reported


class Pulse:
    """Monitors whether a sweep is alive; `beat` is called at every change. `clock` is monotonic, in seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._beaten: float | None = None
        self._began = clock()
        self._looked = -SELDOM
        self._holder: Holder | None = None

    def beat(self) -> None:
        """Record a change of the file."""
        self._beaten = self._clock()

    def phase(self) -> tuple[str, str]:
        """The phase of an incomplete sweep ("running", "killed" or "stopped") and a note."""
        if self._beaten is not None and self._clock() - self._beaten < FRESH:
            return "running", ""
        self._look()
        if self._holder is None:
            return "stopped", "run the same command to resume"
        if self._holder.dead:
            return "killed", f"{self._holder.who} no longer exists; run the same command to resume"
        silence = self._silence()
        return "running", f"no change for {duration(silence)}" if silence > _SILENT else ""

    def _look(self) -> None:
        pause = min(SELDOM, max(OFTEN, self._silence() / 2))
        if self._clock() - self._looked >= pause:
            self._looked = self._clock()
            # The lock lies next to the path that the sweep was given, which may be a link or a link's target.
            self._holder = lock.look(self._path) or lock.look(self._path.resolve())

    def _silence(self) -> float:
        return self._clock() - (self._began if self._beaten is None else self._beaten)
