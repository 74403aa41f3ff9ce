"""Session of a verb that computes: ranks, logging, stop signals, and one agreed exit status whatever goes wrong."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsweep.errors import (
    EXIT_ERROR,
    DivergenceError,
    InputError,
    LockError,
    LsweepError,
    MissingExtra,
    one_line,
)

if TYPE_CHECKING:
    from lsweep.comm import Comm
    from lsweep.tools.stop import Stop
    from lsweep.tools.stopwatch import Stopwatch

log = logging.getLogger("lsweep")


class Ended(Exception):
    """The ranks have agreed on an exit status, and the error has been reported."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Session:
    """The ranks, the stop requests that reach them, and the clock of this rank."""

    comm: Comm
    stop: Stop
    clock: Stopwatch


@contextmanager
def session(
    who: str,
    *,
    time_limit: str | None = None,
    level: int = logging.INFO,
    mpio: bool = False,
    one_rank: bool = False,
) -> Iterator[Session]:
    """Collective: connect the ranks; signals and the time limit stop them, and errors end all of them.

    Args:
        who: the start of the message if torch is absent, for example "sweeping needs".
        time_limit: value of `--time-limit`.
        level: log level on rank 0.
        mpio: whether the store needs MPI.
        one_rank: refuse to run on more than one rank.

    Raises:
        InputError, DivergenceError: on a single rank, as raised in the block.
        Ended: after any error that was reported here.
    """
    from lsweep.tools.stop import Stop, check_limit, deadline
    from lsweep.tools.stopwatch import Stopwatch

    check_limit(time_limit)
    clock, stop = Stopwatch(), Stop()
    with ExitStack() as last, stop.on_signals():  # from the start: by default USR2 would end the process
        with clock.span("importing modules"):
            need_torch(who)
        from lsweep import comm as ranks

        with clock.span("starting MPI"):
            # Without parallel HDF5, do not start MPI for the store, which will raise an error.
            comm = ranks.alone() if one_rank else ranks.connect(need_mpi=mpio and parallel_hdf5())
        if comm.size > 1:
            last.callback(_ignore_signals)  # after `on_signals` has restored the handlers
        log_to_stderr(comm, level if comm.is_root else max(level, logging.WARNING))
        with errors_end_all(comm):
            stop.deadline = comm.on_root(lambda: deadline(time_limit))
            yield Session(comm, stop, clock)


def log_level(args: argparse.Namespace) -> int:
    """The log level selected by --quiet or --verbose."""
    return logging.WARNING if args.quiet else logging.DEBUG if args.verbose else logging.INFO


@contextmanager
def errors_end_all(comm: Comm) -> Iterator[None]:
    """Collective: report an error once and end all ranks with one exit status, so that none waits for another.

    Raises:
        Ended: with that status; on a single rank an InputError is passed on.
    """
    try:
        yield
    except (InputError, DivergenceError) as error:
        if comm.size == 1:
            raise
        _leave_together(comm, error)
        raise Ended(error.exit_status) from None
    except LockError as error:
        # The other ranks notice by themselves, or cannot be reached.
        report_error(error)
        if comm.size > 1:
            comm.abort(error.exit_status)
        raise Ended(error.exit_status) from None
    except BaseException as error:
        if comm.size == 1 and not isinstance(error, Exception):
            raise
        # An exit or an interrupt of one rank ends the others too.
        traceback.print_exc()
        if comm.size > 1:
            comm.abort(EXIT_ERROR)
        raise Ended(EXIT_ERROR) from None


def log_to_stderr(comm: Comm, level: int) -> None:
    """Write the log to standard error from this level up, with the number of the rank."""
    label = "" if comm.size == 1 else f" [{comm.rank}/{comm.size}]"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s{label}  %(message)s", datefmt="%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


def report_error(error: Exception | str) -> None:
    """Print an error as one line on standard error."""
    print(f"lsweep: error: {one_line(str(error))}", file=sys.stderr, flush=True)


def report_on_first_rank(error: InputError) -> None:
    """Report an error that all ranks have before they are connected: only the first rank prints it."""
    from lsweep.comm import rank_hint

    if rank_hint() == 0:
        report_error(error)
    else:
        time.sleep(2)  # mpirun kills the others as soon as one leaves, rank 0 before it has reported


def parallel_hdf5() -> bool:
    """Whether h5py has MPI."""
    from lsweep.store.opening import is_parallel

    return is_parallel()


def need_torch(who: str) -> None:
    """Import torch, the one heavy import.

    Raises:
        MissingExtra: it is not installed; the message begins with `who`.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra(f"{who} torch: pip install '.[torch]' in lsweep's clone") from None


def _ignore_signals() -> None:
    """Ignore what would change the status that the ranks agreed on, while the interpreter shuts down.

    As soon as the first rank has left with 75, `srun --kill-on-bad-exit` sends SIGTERM to the others, which may
    be a second behind, and srun's own status would be 143: no job that is requeued on 75 would be requeued.
    """
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _leave_together(comm: Comm, error: LsweepError) -> None:
    """If all ranks met the error, rank 0 reports it; a rank that met it alone reports it and ends the job."""
    if comm.is_root:
        report_error(error)
    if not comm.all_here(seconds=3.0):
        if not comm.is_root:
            report_error(error)
        comm.abort(error.exit_status)
