"""Writing batches into an open file, values first, status last, each made durable before the next."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep.errors import InputError
from lsweep.store.batch import Batch, runs
from lsweep.store.schema import COLUMNS, SESSION, SESSIONS


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Say in words that a file cannot be opened for writing.

    Raises:
        InputError: instead of what h5py raises.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(f"cannot open {str(path)!r} for writing: {reason}", key="output") from None


class FileWriter:
    """Writes batches. Each mode of the store opens the file its own way.

    Args:
        file: the open file.
        path: where it lies.
        names: the metrics, in the order of `Batch.values`.
        flush: whether HDF5 buffers raw data in this process (it does where one process opened the file;
            fsync alone then saves nothing). Through MPI-IO it does not, and `H5Fflush` would be collective.
    """

    def __init__(self, file: h5py.File, path: Path, names: Sequence[str], *, flush: bool) -> None:
        self._file, self._flush = file, flush
        self._descriptor = os.open(path, os.O_RDONLY)
        self._columns = [file[name].id for name in names]
        self._extra = {name: file[name].id for name in COLUMNS if name in file}
        self._status, self._seconds, self._rank = (file[n].id for n in ("status", "seconds", "rank"))
        self._shape = file["status"].shape
        self._session: int | None = None

    def write(self, batch: Batch) -> None:
        """Write a batch with increasing points: values, durable, then status, durable."""
        pieces = runs(batch.points, self._shape[-1])
        for index, dataset in enumerate(self._columns):
            self._put(dataset, batch.points, np.ascontiguousarray(batch.values[:, index]), pieces)
        for name, dataset in self._extra.items():
            if name in batch.columns:
                values = np.ascontiguousarray(batch.columns[name], dtype=dataset.dtype)
                self._put(dataset, batch.points, values, pieces)
        self._put(self._seconds, batch.points, batch.seconds, pieces)
        self._put(self._rank, batch.points, batch.rank, pieces)
        self._durable()
        # Only now may a reader trust these points, whatever happens to the machine.
        self._put(self._status, batch.points, batch.status, pieces)
        self._durable()

    def close(self) -> None:
        """Let go of the descriptor; the file itself is its opener's."""
        os.close(self._descriptor)

    def _durable(self) -> None:
        if self._flush:
            self._file.flush()
        os.fsync(self._descriptor)

    def begin_session(self, job: str, ranks: int, hosts: str, mode: str) -> None:
        """Take the next row of the ring of sessions."""
        table = self._file["sessions/table"][...]
        self._session = (
            int(np.argmin(table["start"]))
            if (table["start"] > 0).all()
            else int(np.flatnonzero(table["start"] == 0)[0])
        )
        now = time.time()
        row = np.array(
            [(job.encode()[:64], ranks, hosts.encode()[:256], mode.encode(), now, now, 0)], dtype=SESSION
        )
        self._row = row
        self._write_row()

    def update_session(self, points: int) -> None:
        """Note how many points this session has made durable so far."""
        if self._session is None:
            return
        self._row["stop"], self._row["points"] = time.time(), points
        self._write_row()

    def _write_row(self) -> None:
        assert self._session is not None and self._session < SESSIONS
        dataset = self._file["sessions/table"].id
        space = dataset.get_space()
        space.select_hyperslab((self._session,), (1,))
        dataset.write(h5py.h5s.create_simple((1,)), space, self._row)

    def _put(
        self, dataset: Any, points: np.ndarray, values: np.ndarray, pieces: list[tuple[int, int]]
    ) -> None:
        space = dataset.get_space()
        for first, last in pieces:
            start = tuple(int(i) for i in np.unravel_index(points[first], self._shape))
            count = (1,) * (len(self._shape) - 1) + (last - first,)
            space.select_hyperslab(start, count)
            dataset.write(
                h5py.h5s.create_simple(count), space, np.ascontiguousarray(values[first:last]).reshape(count)
            )
