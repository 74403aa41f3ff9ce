"""The verb `lsweep describe`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the verb `describe` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "describe",
        help="write the methods paragraph of a paper, with BibTeX, from a sweep's file",
        description="Write a methods paragraph for a sweep, with BibTeX entries to cite. It covers the network, data, "
        "directions, grid, errors, software and hardware. Facts that the file does not record are left out.",
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
