"""The command line `lsweep VERB …`: its parsers and exit statuses. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lsweep._version import __version__
from lsweep.cli.session import Ended, report_error, report_on_first_rank
from lsweep.errors import EXIT_BAD_INPUT, EXIT_ERROR, InputError, LsweepError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit status: 0, 1, 2, 3 or 75."""
    args = _parser().parse_args(arguments)
    try:
        status: int = args.run(args)
        return status
    except Ended as end:
        return end.status
    except InputError as error:
        report_on_first_rank(error)
        return EXIT_BAD_INPUT
    except LsweepError as error:
        report_error(error)
        return error.exit_status
    except BrokenPipeError:
        return EXIT_ERROR  # the reader of our output has gone, as `| head` does


def _parser() -> argparse.ArgumentParser:
    from lsweep.cli import certify, check, curvature, directions, sweep, train
    from lsweep.compare import cli as compare
    from lsweep.convert import cli as convert
    from lsweep.describe import cli as describe
    from lsweep.export import cli as export
    from lsweep.render import cli as render
    from lsweep.render.scene import cli as movie
    from lsweep.slurm import cli as slurm
    from lsweep.watch import cli as watch

    parser = argparse.ArgumentParser(
        prog="lsweep", description="Loss landscapes of neural networks, in parallel."
    )
    parser.add_argument("--version", action="version", version=f"lsweep {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in (
        *(train, sweep, certify, directions, watch, check, curvature),
        *(render, movie, export, compare, convert, describe, slurm),
    ):
        verb.add_parser(verbs)
    return parser
