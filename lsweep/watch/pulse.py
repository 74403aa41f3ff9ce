"""Liveness of a sweep: changes of its file, and its lock.

No two machines' clocks are compared: over NFS they may be minutes apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lsweep.tools import lock
from lsweep.tools.lock import Holder
from lsweep.tools.progress import duration

# Seconds after a change during which the sweep is taken for running: more than a batch is kept back by default.
FRESH = 8.0
# Seconds between two looks at the lock, which for a holder elsewhere ask Slurm: half the silence, within these.
OFTEN, SELDOM = 4.0, 60.0
_SILENT = 20.0  # seconds without news that are worth saying


class Pulse:
    """Told of every change of the file; `clock` is monotonic, in seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._beaten: float | None = None
        self._began = clock()
        self._looked = -SELDOM
        self._holder: Holder | None = None

    def beat(self) -> None:
        """The file has changed."""
        self._beaten = self._clock()

    def phase(self) -> tuple[str, str]:
        """ "running", "killed" or "stopped", and what else there is to say, of a sweep that is not complete."""
        if self._beaten is not None and self._clock() - self._beaten < FRESH:
            return "running", ""
        self._look()
        if self._holder is None:
            return "stopped", "run the same command to go on"
        if self._holder.dead:
            return "killed", f"{self._holder.who} is gone; run the same command to go on"
        silence = self._silence()
        return "running", f"no news for {duration(silence)}" if silence > _SILENT else ""

    def _look(self) -> None:
        pause = min(SELDOM, max(OFTEN, self._silence() / 2))
        if self._clock() - self._looked >= pause:
            self._looked = self._clock()
            # The lock lies beside the name under which the sweep knows its file, which may be a link or be linked to.
            self._holder = lock.look(self._path) or lock.look(self._path.resolve())

    def _silence(self) -> float:
        return self._clock() - (self._began if self._beaten is None else self._beaten)
