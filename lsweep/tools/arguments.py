"""Command-line arguments that several verbs share: CONFIG and --set."""

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
