"""The command line `lsweep VERB …`: parsers, exit statuses, and the verb `sweep`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsweep._version import __version__
from lsweep.errors import (
    EXIT_BAD_INPUT,
    EXIT_COMPLETE,
    EXIT_ERROR,
    EXIT_STOPPED,
    InputError,
    LockError,
    LsweepError,
    MissingExtra,
    one_line,
)
from lsweep.tools.arguments import add_config

if TYPE_CHECKING:
    from lsweep.comm import Comm
    from lsweep.config import Config
    from lsweep.engine.job import Options
    from lsweep.engine.loop import Outcome
    from lsweep.tools.stop import Stop
    from lsweep.tools.stopwatch import Stopwatch

log = logging.getLogger("lsweep")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the process's exit status (see DESIGN: 0, 1, 2, 3, 75)."""
    args = _parser().parse_args(arguments)
    try:
        status: int = args.run(args)
        return status
    except InputError as error:
        _say_once(error)
        return EXIT_BAD_INPUT
    except LsweepError as error:
        _say(error)
        return error.exit_status
    except BrokenPipeError:
        return EXIT_ERROR  # the reader of our output has gone, as `| head` does


def _parser() -> argparse.ArgumentParser:
    from lsweep.cli.certify import add_parser as add_certify
    from lsweep.cli.curvature import add_parser as add_curvature
    from lsweep.cli.directions import add_parser as add_directions
    from lsweep.cli.train import add_parser as add_train
    from lsweep.cli.trajectory import add_parser as add_trajectory
    from lsweep.compare.cli import add_parser as add_compare
    from lsweep.convert.cli import add_parser as add_convert
    from lsweep.describe.cli import add_parser as add_describe
    from lsweep.export.cli import add_parser as add_export
    from lsweep.render.cli import add_parser as add_render
    from lsweep.render.scene.cli import add_parser as add_movie
    from lsweep.slurm.cli import add_parser as add_slurm
    from lsweep.watch.cli import add_parser as add_watch

    parser = argparse.ArgumentParser(
        prog="lsweep", description="Loss landscapes of neural networks, in parallel."
    )
    parser.add_argument("--version", action="version", version=f"lsweep {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    add_train(verbs)
    _add_sweep(verbs)
    add_certify(verbs, _certify)
    add_trajectory(verbs)
    add_directions(verbs)
    _add_status(verbs)
    add_watch(verbs)
    _add_check(verbs)
    add_curvature(verbs)
    add_render(verbs)
    add_movie(verbs)
    add_export(verbs)
    add_compare(verbs)
    add_convert(verbs)
    add_describe(verbs)
    add_slurm(verbs)
    return parser


def _add_sweep(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "sweep",
        help="evaluate a network over a grid of its weight space",
        description="Evaluate a network over a grid of its weight space, or go on with a sweep that was begun. "
        "Exit status: 0 complete, 2 bad input, 3 complete but some points failed, 75 stopped early (run it again).",
        epilog="example: mpirun -n 4 lsweep sweep resnet56.toml --set grid.x.num=101",
    )
    add_config(parser)
    parser.add_argument(
        "--seeds", metavar="A-B", help="sweep once per direction seed, as in 0-4 or 1,5,7; one file each"
    )
    parser.add_argument("--time-limit", metavar="[[HH:]MM:]SS", help="leave in time, with status 75")
    parser.add_argument("--max-points", type=int, metavar="N", help="leave after N points, with status 75")
    parser.add_argument("--retry-failed", action="store_true", help="evaluate failed points once more")
    parser.add_argument(
        "--complete", action="store_true", help="evaluate the points too that grid.refine settled"
    )
    parser.add_argument(
        "--break-lock", action="store_true", help="take over from a session that is surely gone"
    )
    parser.add_argument("--profile", action="store_true", help="say where the time went, rank by rank")
    parser.add_argument("--quiet", action="store_true", help="no progress, only warnings and errors")
    parser.set_defaults(run=_sweep)


def _add_check(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "check",
        help="what a job will meet: ranks, GPUs, store, disk, time per point",
        description="Try what a job will meet, the way the job will be started: ranks, threads, GPUs, a write "
        "through the store, room on the disk, the lock, one point and the time for all. Without CONFIG: the "
        "machine alone. Exit status: 0 if a job would run, 2 if something fails.",
        epilog="example: srun --mpi=pmix -n 4 lsweep check resnet56.toml --ranks 64",
    )
    add_config(parser, nargs="?")
    parser.add_argument("--ranks", type=int, metavar="N", help="estimate the time on N ranks as well")
    parser.set_defaults(run=_check)


def _add_status(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "status",
        help="how far a sweep is, from its file alone",
        description="How far a sweep is, from its file alone; the sweep may be running.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="sweeps' HDF5 files")
    parser.set_defaults(run=_status)


def _sweep(args: argparse.Namespace) -> int:
    from lsweep import config
    from lsweep.config import seeds

    if args.max_points is not None and args.max_points < 1:
        raise InputError(f"--max-points must be >= 1, got {args.max_points}")
    base = config.load(args.config, args.overrides)
    configs = [base] if args.seeds is None else [config.with_seed(base, s) for s in seeds.parse(args.seeds)]
    return _beside_ranks(args, base, lambda comm, stop, clock: _sweep_all(configs, comm, args, stop, clock))


def _beside_ranks(
    args: argparse.Namespace, base: Config, work: Callable[[Comm, Stop, Stopwatch], int]
) -> int:
    """Find the ranks, do the work with them and return its exit status; signals and the time limit stop it."""
    from lsweep.tools.stop import Stop, check_limit
    from lsweep.tools.stopwatch import Stopwatch

    check_limit(args.time_limit)
    clock = Stopwatch()
    stop = Stop()  # one for all seeds
    with stop.on_signals():  # from the first moment on: by default USR2 would end the process
        with clock.span("importing modules"):
            need_torch("sweeping needs")
        from lsweep import comm as ranks

        with clock.span("starting MPI"):
            comm = ranks.connect(need_mpi=base.store.mode == "mpio" and _parallel_hdf5())
        _log_to_stderr(comm, logging.WARNING if args.quiet or not comm.is_root else logging.INFO)
        status = _on_ranks(comm, lambda: work(comm, stop, clock))
    if comm.size > 1:
        _leave_undisturbed()
    return status


def _leave_undisturbed() -> None:
    """Ignore what would change the status that the ranks agreed on, while the interpreter goes down.

    As soon as the first rank is gone with 75, `srun --kill-on-bad-exit` sends SIGTERM to the others, which may
    be a second behind, and srun's own status would be 143: no job that is requeued on 75 would go on.
    """
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _certify(args: argparse.Namespace) -> int:
    from lsweep import config
    from lsweep.cli import certify

    certify.check(args)
    base = config.load(args.config, args.overrides)
    return _beside_ranks(args, base, lambda comm, stop, _: certify.certify(base, comm, args, stop))


def _check(args: argparse.Namespace) -> int:
    from lsweep import comm as ranks
    from lsweep import config
    from lsweep.cli import check

    if args.ranks is not None and args.ranks < 1:
        raise InputError(f"--ranks must be >= 1, got {args.ranks}")
    base = config.load(args.config, args.overrides) if args.config else None
    comm = ranks.connect(need_mpi=base is not None and base.store.mode == "mpio" and _parallel_hdf5())
    _log_to_stderr(comm, logging.WARNING)
    return _on_ranks(comm, lambda: check.report(base, comm, args.ranks))


def _on_ranks(comm: Comm, work: Callable[[], int]) -> int:
    """Collective: do the work and return its exit status; whatever goes wrong, no rank waits for another."""
    try:
        return work()
    except InputError as error:
        if comm.size == 1:
            raise
        _leave_together(comm, error)
        return error.exit_status
    except LockError as error:
        # The others find out by themselves, or are as dead as this one is to them: nothing to say at length.
        _say(error)
        if comm.size > 1:
            comm.abort(error.exit_status)
        return error.exit_status
    except BaseException as error:
        if comm.size == 1 and not isinstance(error, Exception):
            raise
        # An exit or an interrupt of one rank ends the others too.
        traceback.print_exc()
        if comm.size > 1:
            comm.abort(EXIT_ERROR)
        return EXIT_ERROR


def _sweep_all(
    configs: Sequence[Config], comm: Comm, args: argparse.Namespace, stop: Stop, clock: Stopwatch
) -> int:
    with clock.span("importing modules"):
        from lsweep.engine import job
        from lsweep.tools import progress
    from lsweep.tools.stop import deadline

    stop.deadline = comm.on_root(lambda: deadline(args.time_limit))
    shown = progress.Silent() if args.quiet else progress.default()
    options = job.Options(shown, stop, args.max_points, args.retry_failed, args.complete, clock)
    status = _sweep_each(configs, comm, args, options)
    if args.profile:
        _tell_profile(comm, clock)
    return status


def _tell_profile(comm: Comm, clock: Stopwatch) -> None:
    """Collective: where the time went, on rank 0's standard error."""
    from lsweep.tools.stopwatch import table

    everyone = comm.allgather(clock.account())
    if comm.is_root:
        print("\n".join(table(everyone)), file=sys.stderr, flush=True)


def _sweep_each(configs: Sequence[Config], comm: Comm, args: argparse.Namespace, options: Options) -> int:
    from lsweep.engine import job

    status, evaluated = EXIT_COMPLETE, 0
    outcomes = job.sweeps(configs, comm, options, break_lock=args.break_lock)
    for config, outcome in zip(configs, outcomes, strict=True):
        if comm.is_root:
            _report(config, outcome)
        evaluated += outcome.evaluated
        if outcome.stopped:
            return EXIT_STOPPED if evaluated else outcome.exit_status
        status = max(status, outcome.exit_status)
    return status


def _report(config: Config, outcome: Outcome) -> None:
    from lsweep.cli import certify
    from lsweep.store.reader import read
    from lsweep.watch import status

    if outcome.broken and outcome.pending:
        _say(f"{outcome.reason}; nothing acknowledged is lost: make room and run the same command again")
    elif outcome.reason:
        log.warning("stopped: %s", outcome.reason)
    log.info(
        "%s: %d points done%s%s%s",
        config.output,
        outcome.done,
        f", {outcome.settled} settled by interpolation (--complete evaluates them)"
        if outcome.settled
        else "",
        f", {outcome.failed} failed (--retry-failed tries again)" if outcome.failed else "",
        f", {outcome.pending} pending (run the same command to go on)" if outcome.pending else "",
    )
    if outcome.evaluated and not outcome.broken and (measured := status.centre(read(Path(config.output)))):
        log.info("at the centre, the network itself: %s", measured)
    if outcome.pending and not outcome.evaluated and not outcome.broken:
        log.warning("not one point was evaluated: status 1, so that a job which resubmits itself ends")
    if outcome.certificate is not None:
        certify.report(config.output, outcome.certificate)


def _status(args: argparse.Namespace) -> int:
    from lsweep.store.reader import read
    from lsweep.watch import status

    for path in args.files:
        print(status.describe(read(Path(path))))
    return 0


def _parallel_hdf5() -> bool:
    """Whether h5py has MPI. Without it there is no use in starting MPI for the store: it will refuse."""
    from lsweep.store.opening import is_parallel

    return is_parallel()


def _leave_together(comm: Comm, error: InputError) -> None:
    """If all ranks met the error, rank 0 says it; a rank that met it alone says it and ends the job."""
    if comm.is_root:
        _say(error)
    if not comm.all_here(seconds=3.0):
        if not comm.is_root:
            _say(error)
        comm.abort(error.exit_status)


def _log_to_stderr(comm: Comm, level: int) -> None:
    """Let the log speak from that level up, each rank with its number."""
    label = "" if comm.size == 1 else f" [{comm.rank}/{comm.size}]"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s{label}  %(message)s", datefmt="%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


def _say(error: Exception | str) -> None:
    print(f"lsweep: error: {one_line(str(error))}", file=sys.stderr, flush=True)


def _say_once(error: InputError) -> None:
    """Before the ranks know of each other all of them meet the same error: one says so."""
    from lsweep.comm import rank_hint

    if rank_hint() == 0:
        _say(error)
    else:
        time.sleep(2)  # mpirun kills the others as soon as one leaves, rank 0 before it has spoken


def need_torch(who: str) -> None:
    """Import torch, the one heavy import, so that its absence is said plainly: `who` is "sweeping needs", say.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra(f"{who} torch: pip install '.[torch]' in lsweep's clone") from None
