"""Follows a sweep's file: reads it again when it changes; it may appear, vanish and be replaced."""

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
from lsweep.watch.pulse import Pulse

# Seconds after which a file is read though nothing says that it has changed. Over NFS attributes are old for a while,
# and what was cached just before a point became durable may be read with its status from just after.
ANYWAY = 10.0
# Seconds for which the end waits for a reader: of a file system that hangs it may never come back.
CLOSING = 5.0


@dataclass(frozen=True)
class View:
    """What is known of a file.

    Attributes:
        path: the file.
        surface: as it was last read; None where it never was.
        version: another one whenever the surface is; "" without one.
        phase: "waiting" for the file, "running", "stopped", "killed", "complete"; "gone" where it was there before,
            "unreadable" where it is and cannot be read now.
        note: what else there is to say of that, or "".
    """

    path: Path
    surface: Surface | None
    version: str
    phase: str
    note: str = ""


class Follower:
    """Looks at a file, for one or several threads, and keeps what was last read of it.

    Args:
        path: the file; it need not be there yet.
        pause: seconds between two looks at the disk; what is asked more often gets the last answer.
        clock: monotonic, in seconds.

    Raises:
        InputError: there is no such folder, or the file is there and no sweep's.
    """

    def __init__(self, path: Path, pause: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        if not path.parent.is_dir():
            raise InputError(f"no folder at {str(path.parent)!r} to wait in for {path.name!r}", key="file")
        self._path, self._pause, self._clock = path, pause, clock
        self._pulse = Pulse(path, clock)
        self._guard = threading.Lock()
        self._mark: tuple[int, ...] | None = None
        self._read = self._looked = clock() - max(ANYWAY, pause)
        self._surface: Surface | None = None
        self._version = ""
        if os.path.lexists(path):
            self._refresh()
        self._view = self._now()

    def look(self) -> View:
        """What is known now. Never raises for what the file is."""
        with self._guard:
            if self._clock() - self._looked >= self._pause:
                self._looked = self._clock()
                self._view = self._now()
            return self._view

    def close(self) -> None:
        """Wait for a reader, and let no other one begin: the last thing before the process ends.

        A thread that is within HDF5 when the interpreter ends never gives h5py's lock back, and the end waits for it.
        """
        self._guard.acquire(timeout=CLOSING)

    def _now(self) -> View:
        if not os.path.lexists(self._path):
            self._mark = None
            return self._viewed("waiting" if self._surface is None else "gone")
        try:
            self._refresh()
        except (FileFormatError, OSError) as error:  # OSError: it went away between two looks at it
            self._mark = None
            return self._viewed("unreadable", str(error))
        if self._surface is not None and self._surface.complete:
            return self._viewed("complete")
        return self._viewed(*self._pulse.phase())

    def _viewed(self, phase: str, note: str = "") -> View:
        return View(self._path, self._surface, self._version, phase, note)

    def _refresh(self) -> None:
        """Read the file if it may have changed. Raises FileFormatError."""
        mark = _mark(self._path)
        if mark is None or mark != self._mark or self._clock() - self._read >= ANYWAY:
            surface = read(self._path)
            self._mark = mark
            self._read = self._clock()
            self._take(surface)

    def _take(self, surface: Surface) -> None:
        version = _version(surface)
        if self._version and version != self._version:
            self._pulse.beat()
        self._surface, self._version = surface, version


def _mark(path: Path) -> tuple[int, ...] | None:
    """What the system says of a file, which is another one after a change (soon after, over a network)."""
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
