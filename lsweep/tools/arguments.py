"""What verbs of the command line have in common."""

from __future__ import annotations

import argparse

from lsweep.errors import MissingExtra


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
