"""Ranks: one process, or an MPI world. The only module that imports mpi4py."""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from lsweep.errors import EXIT_ERROR, InputError, LsweepError, MissingExtra
from lsweep.tickets import LocalTickets, MpiTickets, Tickets

T = TypeVar("T")
Handler = Callable[[int, Any], None]

# What launchers tell a process of the world it should find, most specific first. `srun` sets the step's
# number; SLURM_NTASKS alone is set in a batch script too, where one process would be a mistake as well.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "SLURM_STEP_NUM_TASKS")
_NAP = 0.0005  # while waiting for the others: MPI itself would spin and take the core from a rank that works
_CHUNK = 1 << 30  # bytes per broadcast: counts are 32-bit in MPI 3


class Comm(ABC):
    """A group of ranks with a mailbox. Messages go by tag to handlers that `poll` calls between points.

    Attributes:
        rank, size: this rank and how many there are.
        local_rank, local_size: the same among the ranks on this host.
        host: this host's name.
        on_sign_of_life: told which rank a message came from, whatever it says.
        on_listened: by name, told that all that had arrived was delivered.
    """

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1
    host = socket.gethostname()
    mpi: Any = None  # the mpi4py communicator, for the parallel store

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self.on_sign_of_life: Callable[[int], None] = lambda source: None
        self.on_listened: dict[str, Callable[[], None]] = {}

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def on(self, tag: str, handler: Handler) -> None:
        """Let `handler(source, message)` receive the messages of that tag, inside `poll` and `quiesce`."""
        self._handlers[tag] = handler

    def _deliver(self, source: int, tag: str, message: Any) -> None:
        self.on_sign_of_life(source)
        self._handlers[tag](source, message)

    def _tell_listened(self) -> None:
        for listener in self.on_listened.values():
            listener()

    @abstractmethod
    def post(self, dest: int, tag: str, message: Any) -> None:
        """Send without waiting; a message to oneself is delivered at once."""

    @abstractmethod
    def poll(self) -> None:
        """Deliver what has arrived."""

    @abstractmethod
    def quiesce(self) -> None:
        """Collective: deliver messages until all that any rank has posted are delivered."""

    @abstractmethod
    def bcast(self, value: T) -> T:
        """Collective: rank 0's value."""

    @abstractmethod
    def allgather(self, value: T) -> list[T]:
        """Collective: every rank's value, in rank order."""

    @abstractmethod
    def barrier(self) -> None:
        """Collective: wait for all."""

    @abstractmethod
    def share(self, nbytes: int, fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """Collective: so many bytes, once per host in memory that its ranks share: uint8 (nbytes,), read-only.

        `fill` writes them, on rank 0 alone, where they will stay: another copy there would be one too many.
        """

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """Collective: memory that is shared inside the block is given back after it; nothing may point there then."""
        yield

    def tickets(self) -> Tickets:
        """Collective: a counter that all ranks draw from."""
        return LocalTickets()

    def all_here(self, seconds: float) -> bool:
        """Whether all ranks call this within that time."""
        return True

    @property
    def library(self) -> str:
        """The MPI library in a few words, "" without one."""
        return ""

    def file_hints(self) -> Any:
        """MPI-IO hints for opening a shared file."""
        raise NotImplementedError("a process without MPI has no MPI-IO")

    @abstractmethod
    def abort(self, status: int) -> None:
        """End the job at once, on every rank."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """Collective: if the block fails on any rank, raise the first rank's error on all of them.

        The block must not communicate. Errors of the input travel by message; an unexpected one is
        raised where it happened, after its traceback was printed there.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
            if not isinstance(caught, LsweepError):
                traceback.print_exc()
        known = [_portable(e) for e in self.allgather(error if error is None else _portable(error))]
        first = next((e for e in known if e is not None), None)
        if first is not None:
            raise error if error is not None and not isinstance(error, LsweepError) else first

    def on_root_only(self, function: Callable[[], T]) -> T | None:
        """Collective: call `function` on rank 0 alone, return its value there; raise its error on all ranks."""
        value = None
        with self.together():
            if self.is_root:
                value = function()
        return value

    def on_root(self, function: Callable[[], T]) -> T:
        """Collective: call `function` on rank 0 alone, return its value or raise its error on all ranks."""
        value: Any = self.on_root_only(function)
        result: T = self.bcast(value)
        return result


class SerialComm(Comm):
    """One process, without MPI."""

    def post(self, dest: int, tag: str, message: Any) -> None:
        """See `Comm.post`."""
        self._deliver(0, tag, message)

    def poll(self) -> None:
        """See `Comm.poll`."""
        self._tell_listened()

    def quiesce(self) -> None:
        """See `Comm.quiesce`."""

    def bcast(self, value: T) -> T:
        """See `Comm.bcast`."""
        return value

    def allgather(self, value: T) -> list[T]:
        """See `Comm.allgather`."""
        return [value]

    def barrier(self) -> None:
        """See `Comm.barrier`."""

    def share(self, nbytes: int, fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """See `Comm.share`."""
        memory = np.empty(nbytes, dtype=np.uint8)
        fill(memory)
        return memory

    def abort(self, status: int) -> None:
        """See `Comm.abort`."""
        os._exit(status)


class MpiComm(Comm):
    """An MPI world."""

    def __init__(self, mpi_module: Any, communicator: Any) -> None:
        super().__init__()
        self._MPI = mpi_module
        self.mpi = communicator
        # A communicator of its own for the mailbox: no tag of a library or of the store can meet ours.
        self._mail = communicator.Dup()
        # And one for leaving: the barrier of a rank that leaves must not pass for that of another's `quiesce`.
        self._exit = communicator.Dup()
        self._node = communicator.Split_type(mpi_module.COMM_TYPE_SHARED)
        self.rank, self.size = communicator.rank, communicator.size
        self.local_rank, self.local_size = self._node.rank, self._node.size
        self._leaders = communicator.Split(0 if self.local_rank == 0 else 1, self.rank)
        self._sent: list[Any] = []
        self._windows: list[Any] = []  # shared memory lives as long as its window

    def post(self, dest: int, tag: str, message: Any) -> None:
        """See `Comm.post`."""
        if dest == self.rank:
            self._deliver(dest, tag, message)
            return
        # Synchronous mode: completion means received, which is what `quiesce` counts on.
        self._sent.append(self._mail.issend((tag, message), dest=dest))

    def poll(self) -> None:
        """See `Comm.poll`."""
        status = self._MPI.Status()
        while self._mail.iprobe(status=status):
            tag, message = self._mail.recv(source=status.source, tag=status.tag)
            self._deliver(status.source, tag, message)
        self._tell_listened()
        self._sent = [request for request in self._sent if not request.test()[0]]

    def quiesce(self) -> None:
        """See `Comm.quiesce`. Nonblocking consensus (Hoefler, Siebert, Lumsdaine, PPoPP 2010)."""
        while True:
            while self._sent:
                self.poll()
                time.sleep(_NAP)
            barrier = self._mail.Ibarrier()
            while not barrier.Test():
                self.poll()
                time.sleep(_NAP)
            self.poll()
            # A handler may have answered after its rank came to the barrier: then once more.
            if not self._mail.allreduce(len(self._sent)):
                return

    def bcast(self, value: T) -> T:
        """See `Comm.bcast`."""
        result: T = self.mpi.bcast(value)
        return result

    def allgather(self, value: T) -> list[T]:
        """See `Comm.allgather`."""
        result: list[T] = self.mpi.allgather(value)
        return result

    def barrier(self) -> None:
        """See `Comm.barrier`."""
        self.mpi.Barrier()

    def share(self, nbytes: int, fill: Callable[[np.ndarray], None]) -> np.ndarray:
        """See `Comm.share`."""
        window = self._MPI.Win.Allocate_shared(nbytes if self.local_rank == 0 else 0, 1, comm=self._node)
        self._windows.append(window)
        memory, _ = window.Shared_query(0)
        flat = np.frombuffer(memory, dtype=np.uint8, count=nbytes)
        self.on_root_only(lambda: fill(flat))
        if self.local_rank == 0:
            for start in range(0, nbytes, _CHUNK):
                self._leaders.Bcast(flat[start : start + _CHUNK])
        self._node.Barrier()
        return flat

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """See `Comm.temporary`."""
        kept = len(self._windows)
        yield  # after an error the windows stay: freeing is collective, and the others may not come to it
        while len(self._windows) > kept:
            self._windows.pop().Free()

    def tickets(self) -> Tickets:
        """See `Comm.tickets`."""
        return MpiTickets(self._MPI, self.mpi)

    def all_here(self, seconds: float) -> bool:
        """See `Comm.all_here`."""
        barrier, end = self._exit.Ibarrier(), time.monotonic() + seconds
        while not barrier.Test():
            if time.monotonic() > end:
                return False
            time.sleep(_NAP)
        return True

    @property
    def library(self) -> str:
        """See `Comm.library`."""
        words = self._MPI.Get_library_version().replace("\0", " ").split()
        return " ".join(words[:4]).split(",")[0]

    def file_hints(self) -> Any:
        """See `Comm.file_hints`."""
        # ROMIO's data sieving is read-modify-write: it would put back old bytes of other ranks' points.
        info = self._MPI.Info.Create()
        info.Set("romio_ds_write", "disable")
        return info

    def abort(self, status: int) -> None:
        """See `Comm.abort`."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.mpi.Abort(status)


def connect(*, need_mpi: bool = False) -> Comm:
    """Find this process's place: an MPI world where a launcher started us, else one process.

    Without a launcher MPI is not even imported, unless `need_mpi` (the parallel store in one process).

    Raises:
        MissingExtra: a launcher started several processes and mpi4py or its MPI library is absent.
        InputError: a launcher started several processes, but MPI sees a world of one.
    """
    expected = _expected_size(os.environ)
    if expected > 1 and _without_pmi(os.environ):
        raise InputError(
            f"srun started {expected} tasks without a PMI, so that they cannot find each other: start lsweep by "
            "`srun --mpi=pmix` (`srun --mpi=list` shows what this Slurm has), or by mpirun inside the job"
        )
    if not need_mpi and not any(name in os.environ for name in _LAUNCHED):
        if expected > 1:
            raise InputError(_singleton(expected))
        return SerialComm()
    # OMPIO's sieving writes back bytes that other ranks own (read-modify-write): off, before MPI_Init.
    os.environ.setdefault("OMPI_MCA_fbtl_posix_write_datasieving", "0")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, an MPI library is not
        if expected > 1 or need_mpi:
            raise MissingExtra(
                f"{expected} processes were started, but MPI cannot be used: {error}; "
                "install an MPI library and pip install 'lsweep[mpi]'"
            ) from None
        return SerialComm()
    if MPI.COMM_WORLD.size == 1 and expected > 1:
        raise InputError(_singleton(expected))
    world = MpiComm(MPI, MPI.COMM_WORLD)
    if world.size > 1:
        _abort_when_unhandled(world)
    return world


def _abort_when_unhandled(comm: Comm) -> None:
    """Let an error that nobody handles, in a user's script say, end all ranks: they would wait for ever."""
    report = sys.excepthook

    def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        report(kind, error, trace)
        comm.abort(EXIT_ERROR)

    sys.excepthook = end


def rank_hint() -> int:
    """This process's rank as its launcher gives it, without MPI: who prints an error that all ranks meet."""
    return next((int(os.environ[name]) for name in _RANKS if os.environ.get(name, "").isdigit()), 0)


def alone() -> Comm:
    """This process by itself, without MPI, for work that is not shared out.

    Raises:
        InputError: a launcher started several processes, which would all do the same.
    """
    expected = _expected_size(os.environ)
    if expected > 1:
        raise InputError(f"this runs in one process, but {expected} tasks were asked for: ask for one")
    return SerialComm()


def _expected_size(environ: Mapping[str, str]) -> int:
    return next((int(environ[name]) for name in _SIZES if environ.get(name, "").isdigit()), 1)


def _without_pmi(environ: Mapping[str, str]) -> bool:
    """Whether we are a step's task with no way to the others: Open MPI would abort in MPI_Init, at length."""
    in_step = "SLURM_STEP_NUM_TASKS" in environ and "SLURM_PROCID" in environ
    told = ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "PMI_FD")
    # mpirun inside a job starts its daemons by srun; their children carry its own variables.
    return in_step and not any(name in environ for name in told)


def _singleton(expected: int) -> str:
    return (
        f"{expected} tasks were asked for, but this process is alone in its MPI world: start lsweep by "
        "`srun --mpi=pmix` or by the mpirun of the MPI library that mpi4py uses, or ask for one task"
    )


def _portable(error: Exception | None) -> Exception | None:
    """An error that can be pickled and raised on another rank."""
    if error is None or isinstance(error, LsweepError):
        return error
    return LsweepError(f"{type(error).__name__}: {error}")
