"""The verb `lsweep check`: tests a configuration and the machine before a job waits in a queue."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from lsweep.cli.session import errors_end_all, log_to_stderr, parallel_hdf5
from lsweep.errors import InputError
from lsweep.tools.arguments import add_config


def add_parser(subparsers: Any) -> None:
    """Add the verb `check` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "check",
        help="test ranks, GPUs, store, disk and the time per point before a job",
        description="Test what a job will need: ranks, threads, GPUs, a write through the store, disk space, the lock "
        "and one point; and estimate the time of the sweep. Start this command in the same way as the job. Without "
        "CONFIG, only the machine is tested. Exit status: 0 if a job would run, 2 if something fails.",
        epilog="example: srun --mpi=pmix -n 4 lsweep check resnet56.toml --ranks 64",
    )
    add_config(parser, nargs="?")
    parser.add_argument("--ranks", type=int, metavar="N", help="also estimate the time on N ranks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings and return the exit status. Raises InputError."""
    from lsweep import comm as ranks
    from lsweep import config
    from lsweep.cli import findings

    if args.ranks is not None and args.ranks < 1:
        raise InputError(f"--ranks must be >= 1, got {args.ranks}")
    base = config.load(args.config, args.overrides) if args.config else None
    comm = ranks.connect(need_mpi=base is not None and base.store.mode == "mpio" and parallel_hdf5())
    log_to_stderr(comm, logging.WARNING)
    with errors_end_all(comm):
        return findings.report(base, comm, args.ranks)
