"""The verb `lsweep sweep`: evaluates a network over a grid of its weight space, or resumes."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsweep.cli.session import log_level, report_error, session
from lsweep.errors import EXIT_COMPLETE, EXIT_STOPPED, InputError
from lsweep.tools.arguments import add_config, add_session

if TYPE_CHECKING:
    from lsweep.engine.session_monitor import Outcome

log = logging.getLogger("lsweep")


def add_parser(subparsers: Any) -> None:
    """Add the verb `sweep` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "sweep",
        help="evaluate a network over a grid of its weight space",
        description="Evaluate a network over a grid of its weight space, or resume a sweep. "
        "Exit status: 0 complete, 2 bad input, 3 complete but some points failed, 75 stopped early (run it again).",
        epilog="example: mpirun -n 4 lsweep sweep resnet56.toml --set grid.x.num=101",
    )
    add_config(parser)
    parser.add_argument(
        "--seeds",
        metavar="A-B",
        help="sweep once per direction seed, for example 0-4 or 1,5,7; one file each",
    )
    add_session(parser)
    parser.add_argument(
        "--max-points", type=int, metavar="N", help="stop after N points, with exit status 75"
    )
    parser.add_argument("--retry-failed", action="store_true", help="evaluate failed points once more")
    parser.add_argument(
        "--complete",
        action="store_true",
        help="also evaluate the points that grid.refine left to interpolation",
    )
    parser.add_argument("--profile", action="store_true", help="report how each rank spent its time")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sweep once per seed and return the exit status. Raises InputError."""
    from lsweep import config
    from lsweep.config import seeds

    if args.max_points is not None and args.max_points < 1:
        raise InputError(f"--max-points must be >= 1, got {args.max_points}")
    base = config.load(args.config, args.overrides)
    configs = [base] if args.seeds is None else [config.with_seed(base, s) for s in seeds.parse(args.seeds)]
    mpio, status, evaluated = base.store.mode == "mpio", EXIT_COMPLETE, 0
    with session("sweeping needs", time_limit=args.time_limit, level=log_level(args), mpio=mpio) as now:
        with now.clock.span("importing modules"):
            from lsweep.engine import job
            from lsweep.engine.plan import Options
            from lsweep.tools import progress, stopwatch
        shown = progress.Silent() if args.quiet else progress.default()
        options = Options(shown, now.stop, args.max_points, args.retry_failed, args.complete, now.clock)
        outcomes = job.sweeps(configs, now.comm, options, break_lock=args.break_lock)
        for each, outcome in zip(configs, outcomes, strict=True):
            if now.comm.is_root:
                report(each.output, outcome)
            evaluated += outcome.evaluated
            if outcome.stopped:
                status = EXIT_STOPPED if evaluated else outcome.exit_status
                break
            status = max(status, outcome.exit_status)
        if args.profile:
            spans = now.comm.allgather(now.clock.account())
            if now.comm.is_root:
                print("\n".join(stopwatch.table(spans)), file=sys.stderr, flush=True)
    return status


def report(output: str, outcome: Outcome) -> None:
    """Log how a sweep ended, and what to do next."""
    from lsweep.cli import certify
    from lsweep.store.reader import read
    from lsweep.watch import status

    if outcome.broken and outcome.pending:
        report_error(
            f"{outcome.reason}; no completed point is lost: make room and run the same command again"
        )
    elif outcome.reason:
        log.warning("stopped: %s", outcome.reason)
    settled = f", {outcome.settled} settled by interpolation (--complete evaluates them)"
    log.info(
        "%s: %d points done%s%s%s",
        output,
        outcome.done,
        settled if outcome.settled else "",
        f", {outcome.failed} failed (--retry-failed tries again)" if outcome.failed else "",
        f", {outcome.pending} pending (run the same command to resume)" if outcome.pending else "",
    )
    if outcome.evaluated and not outcome.broken and (measured := status.centre(read(Path(output)))):
        log.info("the network itself, at the centre: %s", measured)
    if outcome.pending and not outcome.evaluated and not outcome.broken:
        log.warning("no point was evaluated: exit status 1, so that a job that resubmits itself ends")
    if outcome.certificate is not None:
        certify.report(output, outcome.certificate)
