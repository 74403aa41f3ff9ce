"""Command-line arguments that several verbs share."""

from __future__ import annotations

import argparse


def add_config(
    parser: argparse.ArgumentParser, *, text: str = "the configuration, a TOML file", nargs: str | None = None
) -> None:
    """Add CONFIG and --set; `args.config` and `args.overrides` are what `lsweep.config.load` takes."""
    parser.add_argument("config", nargs=nargs, metavar="CONFIG", help=text)
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add --set alone."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override a key"
    )


def add_session(parser: argparse.ArgumentParser) -> None:
    """Add the options of verbs that compute for long: --time-limit, --break-lock, --quiet, --verbose."""
    parser.add_argument(
        "--time-limit", metavar="[[HH:]MM:]SS", help="stop within this time, with exit status 75"
    )
    parser.add_argument("--break-lock", action="store_true", help="take over the lock of a dead session")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quiet", action="store_true", help="no progress, only warnings and errors")
    amount.add_argument(
        "--verbose", action="store_true", help="also log details, such as tuned settings and folded layers"
    )
