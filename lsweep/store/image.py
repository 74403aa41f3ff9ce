"""A new file's bytes, made in memory: HDF5 writes to it as to a file, and only what it writes takes room."""

from __future__ import annotations

import mmap
import os
from typing import Any


class Image(mmap.mmap):
    """Memory with the methods of a file that h5py asks for. Pages that nobody wrote are zeros and take none.

    Args:
        size: more than the file will have.

    Attributes:
        end: how long the file is.
    """

    end: int

    def __new__(cls, size: int) -> Image:
        """Addresses for so many bytes."""
        image = super().__new__(cls, -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        image.end = 0
        return image

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:  # type: ignore[override]
        """Go to a place, counted from the file's end for SEEK_END."""
        super().seek(offset + self.end if whence == os.SEEK_END else offset)
        return self.tell()

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from here on."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        """Write from here on."""
        count = super().write(data)
        self.end = max(self.end, self.tell())
        return count

    def truncate(self, size: int) -> int:
        """Say how long the file is."""
        self.end = size
        return size

    def flush(self, *_: int) -> None:
        """There is nothing behind it."""
