"""The verb `lsweep status`: shows the progress of sweeps, from their files alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the verb `status` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "status",
        help="show a sweep's progress",
        description="Show a sweep's progress, from its file alone; the sweep may be running.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="HDF5 files of sweeps")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the progress of each file. Raises InputError."""
    from lsweep.store.reader import read
    from lsweep.watch import status

    for path in args.files:
        print(status.describe(read(Path(path))))
    return 0
