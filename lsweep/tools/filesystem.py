"""What kind of file system a path lies on, and how much room it has."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Shared over a network, so that ranks on several hosts can write one file.
NETWORK = (
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.ceph",
    "panfs",
    "cifs",
    "smb3",
    "9p",
    "afs",
)


def existing_parent(path: Path) -> Path:
    """The nearest folder above `path` that is there already."""
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def kind(folder: Path) -> str:
    """The type of a folder's file system, as the kernel names it ("ext4", "nfs4", "lustre"); "" if unknown."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    place, found, deepest = folder.resolve(), "", -1
    for line in mounts:
        fields, _, after = line.partition(" - ")
        mount = Path(_unescaped(fields.split()[4]))
        # Of several mounts on one place the last hides the others.
        if place.is_relative_to(mount) and len(mount.parts) >= deepest:
            found, deepest = after.split()[0], len(mount.parts)
    return found


def room(folder: Path) -> int:
    """Bytes that an ordinary user may still write there."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _unescaped(name: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), name)
