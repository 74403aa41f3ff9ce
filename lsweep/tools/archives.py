"""Zip archives as input (npz, torch's checkpoints): what they would grow to, before a byte is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

# Images and weights hardly compress; a bomb expands a thousandfold, by bzip2 or lzma a million.
FREE_BYTES = 1 << 30  # may be declared without proof
MOST_EXPANSION = 64  # of what is beyond


def is_zip(path: str | Path) -> bool:
    """Whether the file begins as a zip archive does, an empty one included."""
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def bomb(members: list[zipfile.ZipInfo]) -> str:
    """Why these members must not be unpacked, or "" where they may.

    `zipfile` unpacks no more of a member than it declares, so a lie here ends in an error there.
    """
    declared = sum(member.file_size for member in members)
    held = sum(member.compress_size for member in members)
    if declared > FREE_BYTES and declared > MOST_EXPANSION * held:
        return f"it would unpack to {declared:,} bytes from {held:,}, which no honest file does"
    return ""
