"""Follows a sweep's file and rereads it when it changes; the file may appear, vanish and be replaced.

Clocks of different machines are never compared: over NFS they may be minutes apart.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lsweep.errors import FileFormatError, InputError
from lsweep.store.reader import read
from lsweep.surface import Surface
from lsweep.tools import lock
from lsweep.tools.lock import Holder
from lsweep.tools.progress import duration

# Seconds after which a file is reread even if it seems unchanged. Over NFS, attributes are stale for a while, and a
# value cached just before a point became durable may be read together with its status from just after.
ANYWAY = 10.0
# Seconds to wait for a reader at the end; on a file system that hangs it may never return.
CLOSING = 5.0
# A sweep counts as running for this many seconds after a change; longer than a batch is buffered by default.
FRESH = 8.0
# Bounds on the seconds between two checks of the lock, else half the silence. For a holder elsewhere each asks Slurm.
OFTEN, SELDOM = 4.0, 60.0
_SILENT = 20.0  # seconds without a change before the silence is reported


@dataclass(frozen=True)
class View:
    """A snapshot of a file.

    Attributes:
        path: the file.
        surface: the surface as last read; None if it was never read.
        version: changes whenever the surface changes; "" without a surface.
        phase: "waiting" for the file, "running", "stopped", "killed", "complete"; "gone" if the file has vanished,
            "unreadable" if it exists but cannot be read now.
        note: further information on the phase, or "".
    """

    path: Path
    surface: Surface | None
    version: str
    phase: str
    note: str = ""


class _Liveness:
    """Monitors whether a sweep is alive, from changes of its file and from its lock.

    `changed` is called at every change. `clock` is monotonic, in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._changed_at: float | None = None
        self._began = clock()
        self._looked = -SELDOM
        self._holder: Holder | None = None

    def changed(self) -> None:
        """Record a change of the file."""
        self._changed_at = self._clock()

    def phase(self) -> tuple[str, str]:
        """The phase of an incomplete sweep ("running", "killed" or "stopped") and a note."""
        if self._changed_at is not None and self._clock() - self._changed_at < FRESH:
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
        return self._clock() - (self._began if self._changed_at is None else self._changed_at)


class Follower:
    """Reads a file for one or several threads, and keeps the last contents.

    Args:
        path: the file; it need not exist yet.
        pause: minimum seconds between two accesses to the disk; requests in between get the last view.
        clock: monotonic, in seconds.

    Raises:
        InputError: the folder does not exist, or the file exists and is not the file of a sweep.
    """

    def __init__(self, path: Path, pause: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        if not path.parent.is_dir():
            raise InputError(
                f"no folder at {str(path.parent)!r}; create it before watching {path.name!r}", key="file"
            )
        self._path, self._pause, self._clock = path, pause, clock
        self._liveness = _Liveness(path, clock)
        self._guard = threading.Lock()
        self._mark: tuple[int, ...] | None = None
        self._read = self._looked = clock() - max(ANYWAY, pause)
        self._surface: Surface | None = None
        self._version = ""
        if os.path.lexists(path):
            self._refresh()
        self._view = self._now()

    def look(self) -> View:
        """The current view. Problems with the file are reported in the view and never raise."""
        with self._guard:
            if self._clock() - self._looked >= self._pause:
                self._looked = self._clock()
                self._view = self._now()
            return self._view

    def close(self) -> None:
        """Wait for the current reader and block further ones; call it last before the process ends.

        A thread inside HDF5 at interpreter exit never releases h5py's lock, and the exit would wait for it forever.
        """
        self._guard.acquire(timeout=CLOSING)

    def _now(self) -> View:
        if not os.path.lexists(self._path):
            self._mark = None
            return self._viewed("waiting" if self._surface is None else "gone")
        try:
            self._refresh()
        except (FileFormatError, OSError) as error:  # OSError: the file vanished in between
            self._mark = None
            return self._viewed("unreadable", str(error))
        if self._surface is not None and self._surface.complete:
            return self._viewed("complete")
        return self._viewed(*self._liveness.phase())

    def _viewed(self, phase: str, note: str = "") -> View:
        return View(self._path, self._surface, self._version, phase, note)

    def _refresh(self) -> None:
        """Reread the file if it may have changed. Raises FileFormatError."""
        mark = _mark(self._path)
        if mark is None or mark != self._mark or self._clock() - self._read >= ANYWAY:
            surface = read(self._path)
            self._mark = mark
            self._read = self._clock()
            self._take(surface)

    def _take(self, surface: Surface) -> None:
        version = _version(surface)
        if self._version and version != self._version:
            self._liveness.changed()
        self._surface, self._version = surface, version


def _mark(path: Path) -> tuple[int, ...] | None:
    """File attributes that differ after a change (with some delay over a network)."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _version(surface: Surface) -> str:
    digest = hashlib.sha256(repr((surface.sessions, surface.certificate)).encode())
    for values in (*surface.axes.values(), surface.status, *surface.metrics.values()):
        digest.update(values.tobytes())
    digest.update(surface.config.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]
