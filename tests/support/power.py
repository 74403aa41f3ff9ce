"""What a disk may hold after a power failure, from the log of a sweep's steps.

SIGKILL leaves the system's cache intact, so it cannot tell whether anything was made durable. Here the disk is
taken at its worst: of the writes since a file's last fsync any subset may have arrived, each whole or in half, and
of the names since the folder's last fsync all or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import stepping
from stepping import WRITES, Step


@dataclass
class Inode:
    """A file's content: what is durable, and the writes that may or may not have arrived."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.pending:
            stepping.patch(self.durable, offset, data)
        self.pending.clear()

    def contents(self) -> Iterator[bytes]:
        """All that may be there."""
        for choice in product((0, 1), repeat=len(self.pending)):
            yield self._content(choice)
        for torn in range(len(self.pending)):
            for others in (0, 1):
                choice = [others] * len(self.pending)
                choice[torn] = 2
                yield self._content(tuple(choice))

    def _content(self, choice: Sequence[int]) -> bytes:
        content = bytearray(self.durable)
        for (offset, data), how in zip(self.pending, choice, strict=True):
            if how:
                stepping.patch(content, offset, data if how == 1 else data[: len(data) // 2])
        return bytes(content)


class Disk:
    """A folder under way.

    Attributes:
        names, durable_names: path → inode, now and as of the folder's last fsync.
    """

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}

    def take(self, step: Step) -> None:
        """One step that succeeded."""
        if step.call == "open":
            if step.offset or step.path not in self.names:
                self.names[step.path] = Inode()
        elif step.call in WRITES:
            self.names[step.path].pending.append((step.offset, step.data[: step.result]))
        elif step.call in ("rename", "link"):
            self.names[step.second] = self.names[step.path]
            if step.call == "rename":
                del self.names[step.path]
        elif step.call == "unlink":
            del self.names[step.path]
        elif step.call == "fsync" and step.path in self.names:
            self.names[step.path].sync()
        elif step.call == "fsync":
            self.durable_names = dict(self.names)
        else:
            assert step.call == "chmod", step.call

    def contents(self, path: str) -> Iterator[bytes | None]:
        """What may be found under a name after the power failed now; None: nothing."""
        for names in (self.durable_names, self.names):
            if path in names:
                yield from names[path].contents()
            else:
                yield None
