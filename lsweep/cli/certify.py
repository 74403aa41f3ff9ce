"""The verb `lsweep certify`: evaluates a sample of a sweep's points again and stores the errors."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lsweep.errors import InputError
from lsweep.tools.arguments import add_config

if TYPE_CHECKING:
    from lsweep.comm import Comm
    from lsweep.config import Config
    from lsweep.engine.session_monitor import Outcome
    from lsweep.tools.stop import Stop

log = logging.getLogger("lsweep")


def add_parser(subparsers: Any, run: Callable[[argparse.Namespace], int]) -> None:
    """Add the verb `certify` to an argparse subparsers object; `run` does it."""
    parser = subparsers.add_parser(
        "certify",
        help="how far a sweep's values are off: a random sample of its points, evaluated in full",
        description="Evaluate a random sample of a sweep's points with all examples in fp32 (fp64 in a sweep of fp64): "
        "some of its evaluated points, and as many interpolated ones where grid.refine left any. Median, 95 % and "
        "largest relative error go into the sweep's file (group certificate/), and `lsweep status` shows them. A sweep "
        "that is not complete can be certified as far as it is. Stopped or killed, the same command goes on; a larger "
        "--points adds to the sample. Exit status: 0 complete, 2 bad input, 3 complete but some points failed, 75 "
        "stopped early (run it again).",
        epilog="example: mpirun -n 4 lsweep certify resnet56.toml --points 200",
    )
    add_config(parser, text="the sweep's configuration, a TOML file")
    parser.add_argument(
        "--points",
        type=int,
        metavar="N",
        help="of each kind, or all where there are fewer (default: evaluate.certificate, or as many as before, or 20)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="of the sample (default: the present certificate's, else 0); another one begins a new sample",
    )
    parser.add_argument("--time-limit", metavar="[[HH:]MM:]SS", help="leave in time, with status 75")
    parser.add_argument("--max-points", type=int, metavar="N", help="leave after N points, with status 75")
    parser.add_argument(
        "--break-lock", action="store_true", help="take over from a session that is surely gone"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, only warnings and errors")
    parser.set_defaults(run=run)


def check(args: argparse.Namespace) -> None:
    """Refuse impossible numbers before any work.

    Raises:
        InputError: naming the option.
    """
    for option, value in (("--points", args.points), ("--max-points", args.max_points)):
        if value is not None and value < 1:
            raise InputError(f"{option} must be >= 1, got {value}")
    if args.seed is not None and not 0 <= args.seed < 2**63:
        raise InputError(f"--seed must be >= 0 and < 2^63, got {args.seed}")


def certify(config: Config, comm: Comm, args: argparse.Namespace, stop: Stop) -> int:
    """Collective: certify, say on rank 0 how it ended, and return the exit status."""
    from lsweep.engine import job
    from lsweep.engine.certify import Request
    from lsweep.tools import progress
    from lsweep.tools.stop import deadline

    stop.deadline = comm.on_root(lambda: deadline(args.time_limit))
    shown = progress.Silent() if args.quiet else progress.default()
    points = args.points or config.evaluate.certificate or None
    outcome = job.certify(
        config,
        comm,
        Request(points, args.seed),
        job.Options(shown, stop, args.max_points),
        break_lock=args.break_lock,
    )
    if comm.is_root:
        report(config.output, outcome)
        if outcome.pending and not outcome.evaluated and not outcome.broken:
            log.warning("not one point was evaluated: status 1, so that a job which resubmits itself ends")
    return outcome.exit_status


def report(output: str, outcome: Outcome) -> None:
    """Say what is left to do; what came out has been said."""
    if outcome.broken:
        log.warning(
            "%s; nothing acknowledged is lost: make room and run the same command again", outcome.reason
        )
    elif outcome.reason:
        log.warning("stopped: %s", outcome.reason)
    if outcome.failed:
        log.warning("%s: %d points of the certificate failed", output, outcome.failed)
    if outcome.pending:
        log.info(
            "%s: %d points of the certificate are pending (run the same command to go on)",
            output,
            outcome.pending,
        )
