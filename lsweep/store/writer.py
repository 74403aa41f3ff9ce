"""Writes batches to a file: values first, status last, each durable before the next.

A sweep changes raw bytes at known offsets and no metadata. So a file with a single writer is written without HDF5
(`PosixWriter`), and one that all ranks write by HDF5 through MPI-IO (`SharedWriter`).
"""

from __future__ import annotations

import fcntl
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from lsweep.errors import FileFormatError, InputError
from lsweep.store.base import Batch, Store, runs
from lsweep.store.reader import read
from lsweep.store.schema import COLUMNS, SESSION, SESSIONS
from lsweep.surface import Status, Surface

TABLE = "sessions/table"


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Convert h5py's errors on opening a file for writing to readable ones.

    Raises:
        InputError: the file cannot be opened.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(f"cannot open {str(path)!r} for writing: {reason}", key="output") from None


class FileWriter(ABC):
    """Writes batches at their offsets.

    Args:
        file: the open file, which the caller closes.
        path: the path of the file.
        names: the metrics, in the order of `Batch.values`.

    Raises:
        FileFormatError: a dataset is not stored contiguously.
    """

    def __init__(self, file: h5py.File, path: Path, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._extra = [name for name in COLUMNS if name in file]
        self._shape = file["status"].shape
        self._types, self._offsets = {}, {}
        for name in (*self._names, *self._extra, "seconds", "rank", "status", TABLE):
            self._types[name], self._offsets[name] = file[name].dtype, file[name].id.get_offset()
            if self._offsets[name] is None:
                raise FileFormatError(
                    f"{str(path)!r}: {name!r} is not stored contiguously; the file was changed by another program",
                    key=name,
                )
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._session: int | None = None

    @abstractmethod
    def _write_run(self, name: str, start: int, values: np.ndarray) -> None:
        """Write consecutive values of a dataset, starting at flat index `start`, within one row."""

    def write(self, batch: Batch) -> None:
        """Write a batch with increasing points: first its values, then, when these are durable, its status."""
        pieces = runs(batch.points, self._shape[-1])
        if not (batch.status == Status.SETTLED).all():  # settled points have no values to write
            self._put_values(batch, pieces)
            self._durable()
        # The status is written only now, so that a reader can trust these points even after a crash of the machine.
        self._put("status", batch.points, batch.status, pieces)
        self._durable()

    def _put_values(self, batch: Batch, pieces: list[tuple[int, int]]) -> None:
        for index, name in enumerate(self._names):
            self._put(name, batch.points, batch.values[:, index], pieces)
        for name in self._extra:
            if name in batch.columns:
                self._put(name, batch.points, batch.columns[name], pieces)
        self._put("seconds", batch.points, batch.seconds, pieces)
        self._put("rank", batch.points, batch.rank, pieces)

    def close(self) -> None:
        """Close the file descriptor."""
        os.close(self._descriptor)

    def _durable(self) -> None:
        os.fsync(self._descriptor)

    def begin_session(self, job: str, ranks: int, hosts: str, mode: str) -> None:
        """Start a session in the next row of the ring buffer of sessions."""
        content = os.pread(self._descriptor, SESSIONS * SESSION.itemsize, self._offsets[TABLE])
        start = np.frombuffer(content, dtype=SESSION)["start"]
        self._session = int(np.argmin(start) if (start > 0).all() else np.flatnonzero(start == 0)[0])
        now = time.time()
        self._row = np.array(
            [(job.encode()[:64], ranks, hosts.encode()[:256], mode.encode(), now, now, 0)], dtype=SESSION
        )
        self._write_run(TABLE, self._session, self._row)

    def update_session(self, points: int) -> None:
        """Record the number of points that this session has made durable so far."""
        if self._session is None:
            return
        self._row["stop"], self._row["points"] = time.time(), points
        self._write_run(TABLE, self._session, self._row)

    def _put(self, name: str, points: np.ndarray, values: np.ndarray, pieces: list[tuple[int, int]]) -> None:
        values = np.ascontiguousarray(values, dtype=self._types[name])
        for first, last in pieces:
            self._write_run(name, int(points[first]), values[first:last])

    def _write_plainly(self, name: str, start: int, values: np.ndarray) -> None:
        self._write_bytes(self._offsets[name] + start * values.itemsize, memoryview(values.tobytes()))

    def _write_bytes(self, offset: int, content: memoryview) -> None:
        while content:
            written = os.pwrite(self._descriptor, content, offset)
            content, offset = content[written:], offset + written


class PosixWriter(FileWriter):
    """Writes with system calls, without HDF5.

    HDF5 would buffer raw data in this process and rewrite its superblock whenever the file is opened and closed. After
    a failed write it would fail again at every object that it releases, and crash at the end of the process (seen
    with 1.10.8 and a full disk).
    """

    def _write_run(self, name: str, start: int, values: np.ndarray) -> None:
        self._write_plainly(name, start, values)

    def _put(self, name: str, points: np.ndarray, values: np.ndarray, pieces: list[tuple[int, int]]) -> None:
        # Most runs are one point, and one process may write those of all ranks, so there is little but the call itself.
        kind = self._types[name]
        content, size = memoryview(np.asarray(values, dtype=kind).tobytes()), kind.itemsize
        places = (self._offsets[name] + points * size).tolist()
        for first, last in pieces:
            self._write_bytes(places[first], content[first * size : last * size])


class SharedWriter(FileWriter):
    """Writes with HDF5 through MPI-IO, independently of the other ranks.

    Nothing is buffered, and `H5Fflush`, which is collective, is never called.
    """

    def __init__(self, file: h5py.File, path: Path, names: Sequence[str]) -> None:
        super().__init__(file, path, names)
        self._datasets = {name: file[name].id for name in self._offsets}
        # Created once: describing a run of one point takes HDF5 several times as long as writing it.
        self._spaces = {name: dataset.get_space() for name, dataset in self._datasets.items()}
        self._kinds = {name: h5py.h5t.py_create(dtype) for name, dtype in self._types.items()}
        self._run_of: dict[tuple[int, ...], h5py.h5s.SpaceID] = {}

    def _write_run(self, name: str, start: int, values: np.ndarray) -> None:
        space = self._spaces[name]
        place = _unravel(start, space.shape)
        count = (1,) * (len(place) - 1) + (len(values),)
        run = self._run_of.get(count)
        if run is None:
            run = self._run_of[count] = h5py.h5s.create_simple(count)
        space.select_hyperslab(place, count)
        try:
            self._datasets[name].write(run, space, values.reshape(count), self._kinds[name])
        except (OSError, RuntimeError):
            # MPI-IO does not report why a write failed. The system call reports the reason, or succeeds.
            self._write_plainly(name, start, values)

    def close(self) -> None:
        """Close the descriptor, and prevent HDF5 from writing anything when it closes the file.

        All data are on disk by now, and the superblock that HDF5 would rewrite is unchanged. After a failed write,
        rewriting it may fail too, on one rank before a collective call in which the others would wait for ever (seen
        with 1.10.8 and a full disk). So descriptors of this file that are open for writing are redirected to an
        anonymous file. This is done on Linux only, where a process can list its open files.
        """
        here = os.fstat(self._descriptor)
        os.close(self._descriptor)
        if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
            return
        nowhere = os.memfd_create("lsweep")
        for number in map(int, os.listdir("/proc/self/fd")):
            try:
                same = os.path.samestat(os.fstat(number), here)
                if same and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                    os.dup2(nowhere, number, inheritable=False)
            except OSError:
                continue  # closed meanwhile, like the descriptor of the listing itself
        os.close(nowhere)


class FileStore(Store):
    """A store that writes results to a file; subclasses set `_path` and `_writer`."""

    _path: Path
    _writer: FileWriter

    def begin_session(self, job: str, hosts: str) -> None:
        """See `Store.begin_session`."""
        if self._comm.is_root:
            self._attempt(lambda: self._writer.begin_session(job, self._comm.size, hosts, self.mode))

    def update_session(self, points: int) -> None:
        """See `Store.update_session`."""
        self._attempt(lambda: self._writer.update_session(points))

    def surface(self) -> Surface | None:
        """See `Store.surface`."""
        return read(self._path, trusted=True) if self._comm.is_root else None


def _unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Like `np.unravel_index`, but ten times as fast for one index."""
    place = []
    for size in reversed(shape):
        index, rest = divmod(index, size)
        place.append(rest)
    return tuple(reversed(place))
