"""The verb `lsweep train`: trains a network into a trail of checkpoints."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from lsweep.cli.dispatch import need_torch
from lsweep.errors import LsweepError
from lsweep.tools.arguments import add_config

log = logging.getLogger("lsweep")


def add_parser(subparsers: Any) -> None:
    """Add the verb `train` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "train",
        help="train a network and keep the trail of its checkpoints",
        description="Train the network of a configuration by its table [train], or go on with a training that was "
        "begun. Exit status: 0 complete, 1 diverged or out of room, 2 bad input, 75 stopped early (run it again).",
        epilog="example: lsweep train vgg9.toml --set train.batch_size=8192 --set train.trail=results/large.trail",
    )
    add_config(parser)
    parser.add_argument("--time-limit", metavar="[[HH:]MM:]SS", help="leave in time, with status 75")
    parser.add_argument(
        "--break-lock", action="store_true", help="take over from a session that is surely gone"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, only warnings and errors")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, say how it ended, and return the exit status. Raises LsweepError."""
    from lsweep import comm as ranks
    from lsweep import config
    from lsweep.tools import progress
    from lsweep.tools.stop import Stop, check_limit, deadline

    check_limit(args.time_limit)
    settings = config.load(args.config, args.overrides)
    stop = Stop()
    with stop.on_signals():
        need_torch("training needs")
        from lsweep.training.train import train

        _log_to_stderr(logging.WARNING if args.quiet else logging.INFO)
        stop.deadline = deadline(args.time_limit)
        shown = progress.Silent() if args.quiet else progress.default("step")
        outcome = train(settings, ranks.alone(), progress=shown, stop=stop, break_lock=args.break_lock)
    trail = outcome.trail
    if outcome.reason:
        log.warning("stopped: %s (run the same command to go on)", outcome.reason)
    log.info(
        "%s: %d checkpoints up to epoch %d", trail.folder, len(trail.checkpoints), trail.epochs[-1].number
    )
    if outcome.exit_status == LsweepError.exit_status:
        log.warning("not one step was taken: status 1, so that a job which resubmits itself ends")
    return outcome.exit_status


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False
