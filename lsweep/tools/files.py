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
    """Yield a temporary path beside `path`; if the block succeeds, the temporary file replaces `path` atomically.

    Raises:
        OSError: the folder is not writable.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp's files are readable by their owner only; the new file takes the permissions of the old one.
        temporary.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Like `replacing`, but create the folder and raise a readable error.

    Raises:
        InputError: the file cannot be written; the message gives the reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}", key="output") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, creating its folder. Raises InputError as `writing` does."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# File systems shared over a network, where ranks on several hosts can write one file.
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
    """The nearest existing folder above `path`."""
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
        # If several file systems are mounted at one place, the last one hides the others.
        if place.is_relative_to(mount) and len(mount.parts) >= deepest:
            found, deepest = after.split()[0], len(mount.parts)
    return found


def free_bytes(folder: Path) -> int:
    """Bytes that an unprivileged user can still write there."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _unescaped(name: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), name)


# Images and weights hardly compress; a zip bomb expands a thousandfold, with bzip2 or lzma a millionfold.
FREE_BYTES = 1 << 30  # archives that unpack to no more than this are always accepted
MOST_EXPANSION = 64  # largest accepted ratio of unpacked to packed bytes beyond that


def is_zip(path: str | Path) -> bool:
    """Whether the file begins like a zip archive, possibly an empty one."""
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def zip_bomb(members: list[zipfile.ZipInfo]) -> str:
    """The reason why these members must not be unpacked, or "" if they are safe.

    `zipfile` never unpacks more of a member than its declared size, so a false size leads to an error there.
    """
    declared = sum(member.file_size for member in members)
    held = sum(member.compress_size for member in members)
    if declared > FREE_BYTES and declared > MOST_EXPANSION * held:
        return f"it would unpack to {declared:,} bytes from {held:,}, like a zip bomb"
    return ""
