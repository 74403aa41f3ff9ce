"""Atomic files, the file system that a path lies on, and checks of zip archives before they are unpacked."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lsweep.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes `path`'s place at once.

    Raises:
        OSError: the folder cannot be written to.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp's files are for their owner alone; who may read what was there may read what comes.
        temporary.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """`replacing` with the folder made, and an error that says what is wrong.

    Raises:
        InputError: that is impossible; the message says why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}", key="output") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder. Raises InputError as `writing` does."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Shared over a network, so that ranks on several hosts can write one file.
NETWORK_FILESYSTEMS = (
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


def filesystem_kind(folder: Path) -> str:
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


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write there."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _unescaped(name: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), name)


# Images and weights hardly compress; a bomb expands a thousandfold, by bzip2 or lzma a million.
FREE_BYTES = 1 << 30  # may be declared without proof
MOST_EXPANSION = 64  # of what is beyond


def is_zip(path: str | Path) -> bool:
    """Whether the file begins as a zip archive does, an empty one included."""
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def zip_bomb(members: list[zipfile.ZipInfo]) -> str:
    """Why these members must not be unpacked, or "" where they may.

    `zipfile` unpacks no more of a member than it declares, so a lie here ends in an error there.
    """
    declared = sum(member.file_size for member in members)
    held = sum(member.compress_size for member in members)
    if declared > FREE_BYTES and declared > MOST_EXPANSION * held:
        return f"it would unpack to {declared:,} bytes from {held:,}, which no honest file does"
    return ""
