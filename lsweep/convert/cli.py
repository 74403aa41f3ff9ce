"""The verb `lsweep convert`."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from lsweep.errors import one_line, printable

EPILOG = """examples:
  lsweep convert resnet56.h5 released.h5              # for the plotting scripts of the released code
  lsweep convert old_surface.h5 new.h5 --directions dirs.h5 --trajectory proj.h5
  lsweep convert resnet56.h5 resnet56.csv             # one row per point
  lsweep convert resnet56.h5 resnet56.nc              # for xarray
  lsweep convert resnet56.h5 dirs.h5 --to directions
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `convert` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "convert",
        help="convert from and to the released code's HDF5, CSV and netCDF",
        description="Convert surfaces between lsweep's files, those of the code released with Li et al. 2018 "
        "(surfaces, directions, projected trajectories), CSV in long form and netCDF. The format of IN is recognised "
        "from its contents; the format of OUT follows from its suffix (.h5, .csv, .nc). With .h5, OUT has the released "
        "code's format if IN is a file of lsweep, and lsweep's otherwise. A warning lists what OUT cannot store.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", help="the file to read")
    parser.add_argument("target", metavar="OUT", help="the file to write")
    parser.add_argument(
        "--from", dest="source_format", metavar="F", help="lsweep, released, plain, csv, netcdf or directions"
    )
    parser.add_argument(
        "--to",
        dest="target_format",
        metavar="F",
        help="lsweep, released, csv, netcdf, directions or projection",
    )
    parser.add_argument(
        "--directions",
        metavar="FILE",
        help="the released code's direction file for IN, to be included in OUT",
    )
    parser.add_argument(
        "--trajectory", metavar="FILE", help="the released code's projected trajectory, to be included in OUT"
    )
    parser.add_argument(
        "--order",
        choices=("yx", "xy"),
        default="yx",
        help="memory order of a surface of the released code. yx (default): x varies fastest, whatever shape the file "
        "declares; the released code writes this order. xy: values[i, j] belongs to (x[i], y[j])",
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert the file and print the path of the result. Raises InputError."""
    from lsweep.convert.formats import convert

    log, handler = logging.getLogger("lsweep"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    before = log.handlers[:]
    log.handlers[:] = [handler]
    try:
        target = convert(
            args.source,
            args.target,
            source_format=args.source_format,
            target_format=args.target_format,
            directions=args.directions,
            projection=args.trajectory,
            order=args.order,
            force=args.force,
        )
    finally:
        log.handlers[:] = before
    print(printable(str(target)))
    return 0


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"lsweep: {record.levelname.lower()}: {one_line(record.getMessage())}"
