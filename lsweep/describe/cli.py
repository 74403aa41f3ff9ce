"""The verb `lsweep describe`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the verb `describe` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "describe",
        help="the methods paragraph of a paper, and BibTeX, from a sweep's file",
        description="Write the methods paragraph of a sweep: network, data, directions, grid, errors, software, "
        "hardware, with BibTeX of what to cite. It says what the file says; what that does not know is left out.",
        epilog="example: lsweep describe resnet56.h5 --format latex >> methods.tex",
    )
    parser.add_argument("file", metavar="FILE", help="HDF5 file of a sweep")
    parser.add_argument("--format", choices=("text", "markdown", "latex", "json"), default="text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the description. Raises InputError."""
    from lsweep.describe import describe
    from lsweep.store.reader import read

    print(describe(read(Path(args.file)), args.format))
    return 0
