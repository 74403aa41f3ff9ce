"""The verb `lsweep train`: trains a network into a trail of checkpoints."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from lsweep.cli.session import log_level, session
from lsweep.errors import LsweepError
from lsweep.tools.arguments import add_config, add_session

log = logging.getLogger("lsweep")


def add_parser(subparsers: Any) -> None:
    """Add the verb `train` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "train",
        help="train a network and save checkpoints on the way (a trail)",
        description="Train the network of a configuration as described in its table [train], or resume the training. "
        "Exit status: 0 complete, 1 diverged or disk full, 2 bad input, 75 stopped early (run it again).",
        epilog="example: lsweep train vgg9.toml --set train.batch_size=8192 --set train.trail=results/large.trail",
    )
    add_config(parser)
    add_session(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, log how it ended, and return the exit status. Raises LsweepError."""
    from lsweep import config

    settings = config.load(args.config, args.overrides)
    with session("training needs", time_limit=args.time_limit, level=log_level(args), one_rank=True) as now:
        from lsweep.tools import progress
        from lsweep.training.train import train

        shown = progress.Silent() if args.quiet else progress.default("step")
        outcome = train(settings, now.comm, progress=shown, stop=now.stop, break_lock=args.break_lock)
    trail = outcome.trail
    if outcome.reason:
        log.warning("stopped: %s (run the same command to resume)", outcome.reason)
    log.info(
        "%s: %d checkpoints up to epoch %d", trail.folder, len(trail.checkpoints), trail.epochs[-1].number
    )
    if outcome.exit_status == LsweepError.exit_status:
        log.warning("no step was taken: exit status 1, so that a job that resubmits itself ends")
    return outcome.exit_status
