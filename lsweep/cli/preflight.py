"""Preflight checks of ranks, threads, MPI-IO, disk space, and a write through the chosen store.

Each check is collective and gives `Finding`s, the same on every rank.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lsweep.comm import Comm, cores
from lsweep.errors import LsweepError
from lsweep.grid import Axis, Grid
from lsweep.store import Batch, Header, open_store, opening, reader
from lsweep.tools import files

# A test write that takes longer hangs: a healthy file system takes milliseconds, a busy one seconds.
HANGS_AFTER = 60.0
_SLOW_SYNC = 1.0

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: the subject, one word.
        level: "fail" if a job would fail, "warn" if it would be slow or unsafe.
        text: the result.
        advice: what to do about it.
    """

    what: str
    level: Level
    text: str
    advice: str = ""


def ranks(comm: Comm) -> Finding:
    """The number of ranks that found each other, and of hosts."""
    hosts = Counter(comm.allgather(comm.host))
    where = ", ".join(f"{count} on {host}" for host, count in sorted(hosts.items())[:8])
    where += f", … ({len(hosts)} hosts)" if len(hosts) > 8 else ""
    library = f"; {comm.library}" if comm.library else "; one process, without MPI"
    return Finding("ranks", "ok", f"{comm.size}: {where}{library}")


def threads(comm: Comm) -> Finding:
    """Whether the threads of a host's ranks fit on the cores that they may use."""
    text = f"{cores.threads_per_rank(comm)} per rank"
    crowded = cores.overcrowded(comm)
    if not crowded:
        return Finding("threads", "ok", text)
    advice = "set OMP_NUM_THREADS to the cores per rank, start fewer ranks, or give the job more cores"
    return Finding("threads", "warn", f"{text}: {'; '.join(crowded[:3])}", advice)


def parallel_io(comm: Comm, mode: str, folder: Path) -> Finding:
    """Whether the store's mode fits h5py, the ranks and the file system."""
    kind = files.filesystem_kind(folder)
    parallel = opening.is_parallel()
    version = opening.hdf5_version()
    library = f"HDF5 {'.'.join(map(str, version))} {'with' if parallel else 'without'} MPI"
    text = f"{mode}, {library}, on {kind or 'an unknown file system'}"
    several_hosts = len(set(comm.allgather(comm.host))) > 1
    level: Level = "ok"
    advice = ""
    if mode == "mpio" and kind.startswith("nfs") and version >= (1, 14) and _is_romio(comm):
        level = "fail"
        advice = (
            'HDF5 1.14 with ROMIO refuses independent writes on NFS: set store.mode = "gather", or write to a '
            "parallel file system"
        )
    elif several_hosts and kind and kind not in files.NETWORK_FILESYSTEMS:
        level = "fail" if mode == "mpio" else "warn"
        advice = (
            "ranks on several hosts would write a file that only one host may see: choose an output on a shared "
            'file system, or set store.mode = "gather"'
        )
    elif mode == "mpio" and kind.startswith("nfs"):
        level, advice = "warn", 'NFS is slow with many writers: store.mode = "gather" is safer there'
    elif mode == "gather" and comm.size > 1 and not parallel:
        text += "; rank 0 writes for all, which is enough for points of a second and more"
    return Finding("store", level, text, advice)


def space(comm: Comm, grid: Grid, columns: int, folder: Path) -> Finding:
    """Whether the output fits on the disk; it is fully allocated when it is created."""
    needed = grid.size * (8 * columns + 13) + 100_000
    free = comm.on_root(lambda: files.free_bytes(folder))
    text = f"{size(free)} free in {str(folder)!r}, the output takes about {size(needed)}"
    if free < needed:
        return Finding("space", "fail", text, "make room, or choose another output")
    return Finding("space", "ok", text)


def probe_write(comm: Comm, mode: str, folder: Path, say: Callable[[str], None]) -> Finding:
    """Write a small sweep in the same way as the job, with a share for every rank, and read it back.

    Args:
        say: reports a line if the write hangs, before the job is ended.
    """
    path = comm.on_root(lambda: folder / f".lsweep-check-{os.getpid()}-{time.time_ns():x}.h5")
    text = f"{comm.size} ranks wrote a probe through {mode}"
    try:
        with _ends_when_hanging(comm, f"a probe write through {mode} to {str(folder)!r}", say):
            seconds = _write_and_read(comm, mode, path)
    except (LsweepError, OSError, RuntimeError) as error:
        advice = 'try store.mode = "gather"' if mode == "mpio" else "choose another output"
        return Finding("probe", "fail", f"through {mode}: {error}", advice)
    finally:
        if comm.is_root:
            path.unlink(missing_ok=True)
    text += f" in {seconds:.3f} s"
    if seconds > _SLOW_SYNC:
        return Finding(
            "probe", "warn", text, "the file system is slow to make writes durable: raise store.sync_seconds"
        )
    return Finding("probe", "ok", text)


def _write_and_read(comm: Comm, mode: str, path: Path) -> float:
    """Seconds for one batch of one point per rank."""
    grid = Grid(Axis(0.0, 1.0, comm.size))
    store = open_store(path, mode, comm, Header(grid, ("loss",)), sync_seconds=0.0)
    start = time.perf_counter()
    own = np.array([comm.rank])
    store.put(
        Batch(
            points=own,
            values=own.reshape(1, 1) + 0.5,
            status=np.ones(1, dtype=np.uint8),
            seconds=np.zeros(1, dtype=np.float32),
            rank=own.astype(np.int32),
        )
    )
    comm.quiesce()
    seconds = max(comm.allgather(time.perf_counter() - start))
    store.close()
    if store.failure is not None:
        raise store.failure

    def compare() -> None:
        surface = reader.read(path, trusted=True)
        if not np.array_equal(surface.loss, np.arange(comm.size) + 0.5) or not surface.complete:
            raise LsweepError("what was read back is not what the ranks wrote")

    comm.on_root_only(compare)
    return seconds


@contextmanager
def _ends_when_hanging(comm: Comm, what: str, say: Callable[[str], None]) -> Iterator[None]:
    def end() -> None:
        say(f'rank {comm.rank}: {what} hangs; try store.mode = "gather", or another file system')
        comm.abort(2)

    timer = threading.Timer(HANGS_AFTER, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_romio(comm: Comm) -> bool:
    """Whether MPI-IO is ROMIO: always for MPICH and its derivatives; Open MPI uses OMPIO except on Lustre."""
    chosen = os.environ.get("OMPI_MCA_io", "")  # noqa: SIM112 - Open MPI's name
    return "romio" in chosen or not comm.library.startswith("Open MPI")


def size(count: float) -> str:
    """Bytes as text: "1.5 MB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"
