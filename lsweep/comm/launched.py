"""Detection of the launcher (mpirun, srun, none) from the environment, and the communicator that follows."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import TracebackType

from lsweep.comm.base import Comm
from lsweep.comm.mpi import MpiComm
from lsweep.errors import EXIT_ERROR, InputError, MissingExtra

# What launchers tell a process of the world it should find, most specific first. `srun` sets the step's
# number; SLURM_NTASKS alone is set in a batch script too, where one process would be a mistake as well.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "SLURM_STEP_NUM_TASKS")


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
        return Comm()
    # OMPIO's sieving writes back bytes that other ranks own (read-modify-write): off, before MPI_Init.
    os.environ.setdefault("OMPI_MCA_fbtl_posix_write_datasieving", "0")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, an MPI library is not
        if expected > 1 or need_mpi:
            raise MissingExtra(
                f"{expected} processes were started, but MPI cannot be used: {error}; "
                "install an MPI library and pip install '.[mpi]' in lsweep's clone"
            ) from None
        return Comm()
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
    return Comm()


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
