"""Small, full and read-only file systems for tests: needs root, as in the container that CI runs in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch import absent


def _mount(*arguments: object) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        absent(f"cannot mount: {done.stderr.strip()}")


@contextmanager
def _mounted(place: Path, *arguments: object) -> Iterator[Path]:
    if os.getuid() != 0:
        absent("mounting needs root")
    _mount(*arguments, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def tmpfs(place: Path, size: str) -> Iterator[Path]:
    """A file system of that size ("16k") in memory, at `place`, which is made."""
    place.mkdir()
    with _mounted(place, "-t", "tmpfs", "-o", f"size={size}", "none"):
        yield place


@contextmanager
def ext4(place: Path, image: Path, size: int) -> Iterator[Path]:
    """An ext4 of `size` bytes in a file, at `place`, which is made."""
    place.mkdir()
    image.write_bytes(bytes(size))
    try:
        command = ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(image)]
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        absent("mkfs.ext4 is absent")
    with _mounted(place, "-o", "loop", image):
        yield place


def resize(place: Path, size: str) -> None:
    """Make room on a tmpfs."""
    _mount("-o", f"remount,size={size}", place)


@contextmanager
def read_only(place: Path) -> Iterator[Path]:
    """A folder or a file that nobody can write to, root included: permissions would not hold it back."""
    with _mounted(place, "--bind", place):
        _mount("-o", "remount,ro,bind", place)
        yield place


def fill(folder: Path) -> Path:
    """Take up all the room there is, to the last byte. Returns the file that does."""
    path = folder / "filler"
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path
