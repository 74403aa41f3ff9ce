"""Memory that HDF5 takes for a file: what is written is there, and nothing else takes room."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from lsweep.store.schema import Image


def test_it_reads_and_writes_like_a_file() -> None:
    image = Image(1 << 20)
    assert image.seek(0, os.SEEK_END) == 0
    image.seek(10)
    assert image.write(b"abc") == 3 and image.end == 13
    image.seek(0)
    assert image.write(b"x") == 1 and image.end == 13
    assert image.seek(-3, os.SEEK_END) == 10
    room = bytearray(3)
    assert image.readinto(room) == 3 and room == b"abc"
    image.truncate(20)
    assert image.end == 20 and bytes(memoryview(image)[:20]) == b"x" + bytes(9) + b"abc" + bytes(7)


def test_what_hdf5_wrote_is_a_file(tmp_path: Path) -> None:
    image, values = Image(1 << 24), np.arange(1000.0)
    with h5py.File(image, "w") as file:
        file["values"] = values
    (tmp_path / "file.h5").write_bytes(memoryview(image)[: image.end])
    with h5py.File(tmp_path / "file.h5") as file:
        assert np.array_equal(file["values"][...], values)


def test_addresses_take_no_memory() -> None:
    before = resident()
    image = Image(1 << 33)
    with open(os.devnull, "wb") as nowhere:
        nowhere.write(memoryview(image)[: 1 << 26])
    assert resident() - before < 1 << 24


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
