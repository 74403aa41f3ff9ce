"""The verb `lsweep compare`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsweep.errors import InputError, one_line, printable

if TYPE_CHECKING:
    from lsweep.compare.comparison import Comparison
    from lsweep.compare.sweeps import Sweep

FORMATS = ("text", "csv", "json")
EPILOG = """examples:
  lsweep compare resnet56.h5 resnet56_noshort.h5
  lsweep compare skip_seed*.h5 noshort_seed*.h5 -o compare.json --figure compare.png
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `compare` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "compare",
        help="measure surfaces and report which measures reliably distinguish the networks",
        description="Measure lines and planes: loss and error at the centre, curvature, convexity, area below given "
        "losses, minima, roughness and range. Files that differ only in the seed of the directions are repeats of one "
        "network and give the spread. For each pair of networks, each measure gets a verdict. The measures are defined "
        "in docs/compare.md.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="HDF5 file of a sweep")
    measured = parser.add_argument_group("measures")
    measured.add_argument(
        "--metric", default="loss", help="the loss to measure: loss, loss_test (default: loss)"
    )
    measured.add_argument(
        "--depth",
        type=float,
        metavar="D",
        help="minimum depth of a local minimum, in ln(loss) (default: 0.1)",
    )
    measured.add_argument(
        "--levels", metavar="A,B,…", help="losses below which the area is measured (default: 0.1,1,10)"
    )
    measured.add_argument(
        "--test-error",
        action="append",
        default=[],
        type=float,
        metavar="PERCENT",
        help="test error of a network, if it was measured elsewhere; once per network",
    )
    measured.add_argument(
        "--force", action="store_true", help="only warn if files are not comparable or incomplete"
    )
    shown = parser.add_argument_group("result")
    shown.add_argument("-o", "--output", metavar="OUT", help="write to a file instead of standard output")
    shown.add_argument(
        "--format", choices=FORMATS, help="output format (default: from the suffix of OUT, else text)"
    )
    shown.add_argument(
        "--figure", metavar="FIGURE", help="draw the first file of each network, on a common scale"
    )
    shown.add_argument(
        "--name", action="append", default=[], metavar="NAME", help="name of a network; once per network"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare the files, write the report and draw the figure. Raises InputError."""
    from lsweep.compare import report
    from lsweep.compare.comparison import compare
    from lsweep.compare.measures import Settings
    from lsweep.compare.sweeps import read

    given = {"depth": args.depth, "levels": _levels(args.levels)}
    settings = Settings(args.metric, **{key: value for key, value in given.items() if value is not None})
    errors = _fractions(args.test_error)
    sweeps = [read(file) for file in args.files]
    _require_alike(sweeps, force=args.force)
    found = compare(sweeps, settings, [one_line(name) for name in args.name], errors)
    write = {"text": report.to_text, "csv": report.to_csv, "json": report.to_json}
    _write(args.output, write[_format(args.format, args.output)](found))
    if args.figure:
        path = _draw(found, Path(args.figure))
        print(printable(str(path)), file=sys.stderr if args.output is None else sys.stdout)
    return 0


def _require_alike(sweeps: Sequence[Sweep], *, force: bool) -> None:
    from lsweep.compare.sweeps import differences

    for difference in differences(sweeps):
        if not force:
            raise InputError(f"{difference}; use --force to compare anyway")
        print(f"lsweep: warning: {one_line(difference)}", file=sys.stderr)


def _draw(comparison: Comparison, path: Path) -> Path:
    from lsweep.render.field import literal
    from lsweep.render.figure import save

    surfaces = [network.sweeps[0].surface for network in comparison.networks]
    titles = [literal(network.name) for network in comparison.networks]
    return save(surfaces, path, metric=comparison.settings.metric, titles=titles)


def _write(output: str | None, text: str) -> None:
    from lsweep.tools.files import write_bytes

    if output is None:
        print(text, end="")
        return
    write_bytes(Path(output), text.encode())
    print(printable(output))


def _format(given: str | None, output: str | None) -> str:
    suffix = Path(output).suffix.lower().removeprefix(".") if output else ""
    return given or (suffix if suffix in FORMATS else "text")


def _levels(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(sorted({float(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise InputError(
            f"--levels must be numbers separated by commas, got {text!r}", key="levels"
        ) from None


def _fractions(percent: Sequence[float]) -> list[float]:
    for value in percent:
        if not (math.isfinite(value) and 0 <= value <= 100):
            raise InputError(f"--test-error must be 0 to 100 per cent, got {value}", key="test_error")
    return [value / 100 for value in percent]
