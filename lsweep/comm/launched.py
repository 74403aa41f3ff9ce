"""Detects the launcher (mpirun, srun, none) from the environment and creates the communicator."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import TracebackType

from lsweep.comm.base import Comm
from lsweep.comm.mpi import MpiComm
from lsweep.errors import EXIT_ERROR, InputError, MissingExtra

# Variables by which launchers pass the number of ranks, most specific first. `srun` sets that of the step;
# SLURM_NTASKS is also set in a batch script, where a single process would be a mistake too.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "SLURM_STEP_NUM_TASKS")


def connect(*, need_mpi: bool = False) -> Comm:
    """Return the communicator: the MPI world if a launcher started this process, otherwise a single process.

    Without a launcher MPI is not imported, unless `need_mpi` is set (the parallel store in one process).

    Raises:
        MissingExtra: a launcher started several processes, but mpi4py or its MPI library is not installed.
        InputError: a launcher started several processes, but MPI reports a world of size 1.
    """
    expected = _expected_size(os.environ)
    if expected > 1 and _without_pmi(os.environ):
        raise InputError(
            f"srun started {expected} tasks without a PMI, so they cannot find each other; start lsweep with "
            "`srun --mpi=pmix` (`srun --mpi=list` lists the types of this Slurm), or with mpirun inside the job"
        )
    if not need_mpi and not any(name in os.environ for name in _LAUNCHED):
        if expected > 1:
            raise InputError(_singleton(expected))
        return Comm()
    # OMPIO's data sieving writes back bytes that other ranks own (read-modify-write). Disable it before MPI_Init.
    os.environ.setdefault("OMPI_MCA_fbtl_posix_write_datasieving", "0")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is installed, but no MPI library
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
    """Abort all ranks on an unhandled exception, e.g. in a user's script: the others would wait for ever."""
    report = sys.excepthook

    def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        report(kind, error, trace)
        comm.abort(EXIT_ERROR)

    sys.excepthook = end


def rank_hint() -> int:
    """This process's rank according to its launcher, without MPI; decides which rank prints an error of all ranks."""
    return next((int(os.environ[name]) for name in _RANKS if os.environ.get(name, "").isdigit()), 0)


def alone() -> Comm:
    """Return the communicator of a single process, without MPI, for work that is not distributed.

    Raises:
        InputError: a launcher started several processes, which would all do the same work.
    """
    expected = _expected_size(os.environ)
    if expected > 1:
        raise InputError(f"this runs in one process, but {expected} tasks were requested; request one task")
    return Comm()


def _expected_size(environ: Mapping[str, str]) -> int:
    return next((int(environ[name]) for name in _SIZES if environ.get(name, "").isdigit()), 1)


def _without_pmi(environ: Mapping[str, str]) -> bool:
    """Whether this is a task of a Slurm step that cannot reach the others: Open MPI would abort in MPI_Init."""
    in_step = "SLURM_STEP_NUM_TASKS" in environ and "SLURM_PROCID" in environ
    told = ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "PMI_FD")
    # mpirun inside a job starts its daemons with srun; their children also have mpirun's own variables.
    return in_step and not any(name in environ for name in told)


def _singleton(expected: int) -> str:
    return (
        f"{expected} tasks were requested, but MPI connects no other process; start lsweep with "
        "`srun --mpi=pmix` or the mpirun of the MPI library that mpi4py uses, or request one task"
    )
