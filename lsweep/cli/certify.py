"""The verb `lsweep certify`: evaluates a sample of a sweep's points again and stores the errors."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from lsweep.cli.session import log_level, session
from lsweep.errors import InputError
from lsweep.tools.arguments import add_config, add_session

if TYPE_CHECKING:
    from lsweep.engine.session_monitor import Outcome

log = logging.getLogger("lsweep")


def add_parser(subparsers: Any) -> None:
    """Add the verb `certify` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "certify",
        help="measure the errors of a sweep on a random sample of its points",
        description="Evaluate a random sample of a sweep's points again, with all examples in fp32 (fp64 for a sweep "
        "in fp64): N of the evaluated points and, if grid.refine left points to interpolation, N of the interpolated "
        "points. The median, the 95 % quantile and the maximum of the relative error are stored in the sweep's file "
        "(group certificate/), and `lsweep status` prints them. For an incomplete sweep the sample is taken from the "
        "points that exist. After an interruption the same command resumes; a larger --points extends the sample. Exit "
        "status: 0 complete, 2 bad input, 3 complete but some points failed, 75 stopped early (run it again).",
        epilog="example: mpirun -n 4 lsweep certify resnet56.toml --points 200",
    )
    add_config(parser, text="the sweep's configuration, a TOML file")
    parser.add_argument(
        "--points",
        type=int,
        metavar="N",
        help="number of points of each kind, or all if there are fewer (default: evaluate.certificate, the "
        "previous number, or 20)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="seed of the sample (default: that of the existing certificate, or 0); a different seed starts a new "
        "sample",
    )
    add_session(parser)
    parser.add_argument(
        "--max-points", type=int, metavar="N", help="stop after N points, with exit status 75"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Certify, report how it ended, and return the exit status. Raises InputError."""
    from lsweep import config

    for option, value in (("--points", args.points), ("--max-points", args.max_points)):
        if value is not None and value < 1:
            raise InputError(f"{option} must be >= 1, got {value}")
    if args.seed is not None and not 0 <= args.seed < 2**63:
        raise InputError(f"--seed must be >= 0 and < 2^63, got {args.seed}")
    base = config.load(args.config, args.overrides)
    mpio = base.store.mode == "mpio"
    with session("sweeping needs", time_limit=args.time_limit, level=log_level(args), mpio=mpio) as now:
        from lsweep.engine import job
        from lsweep.engine.certify import Request
        from lsweep.engine.plan import Options
        from lsweep.tools import progress

        shown = progress.Silent() if args.quiet else progress.default()
        request = Request(args.points or base.evaluate.certificate or None, args.seed)
        options = Options(shown, now.stop, args.max_points)
        outcome = job.certify(base, now.comm, request, options, break_lock=args.break_lock)
        if now.comm.is_root:
            report(base.output, outcome)
            if outcome.pending and not outcome.evaluated and not outcome.broken:
                log.warning("no point was evaluated: exit status 1, so that a job that resubmits itself ends")
    return outcome.exit_status


def report(output: str, outcome: Outcome) -> None:
    """Log what is left to do; the result has been logged."""
    if outcome.broken:
        log.warning(
            "%s; no completed point is lost: make room and run the same command again", outcome.reason
        )
    elif outcome.reason:
        log.warning("stopped: %s", outcome.reason)
    if outcome.failed:
        log.warning("%s: %d points of the certificate failed", output, outcome.failed)
    if outcome.pending:
        log.info(
            "%s: %d points of the certificate are pending (run the same command to resume)",
            output,
            outcome.pending,
        )
