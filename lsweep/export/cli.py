"""The verb `lsweep export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lsweep.errors import InputError, printable

FORMATS = ("vts", "vtp", "vti", "glb", "xdmf", "xmf", "py")
EPILOG = """examples:
  lsweep export resnet56.h5 --log
  lsweep export resnet56.h5 --clip 10 --scale auto -o figures/resnet56.vtp
  lsweep export resnet56.h5 -o resnet56.glb            (Blender, the web)
  lsweep export resnet56.h5 -o resnet56.py             (paraview --script=resnet56.py)
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `export` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "export",
        help="export a sweep for ParaView, Blender and similar programs",
        description="Export a sweep as a surface whose height is a metric (.vts structured, .vtp polygons), or as"
        " image data (.vti, also for boxes), with every metric and log_loss (log10) as point data; as glTF with colours"
        " (.glb); as a small file with which ParaView reads FILE directly (.xdmf); or as a ParaView script that sets up"
        " a view, with the data files that it opens (.py). A training path is written to OUT_path.vtp.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="HDF5 file of a sweep")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="output file or folder (default: next to FILE, with the stem of FILE)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        action="append",
        help="format, if OUT has no suffix; repeat for several files (default: vts; vti for a box)",
    )
    parser.add_argument("--metric", default="loss", help="metric to use as height (default: loss)")
    parser.add_argument(
        "--log",
        action=argparse.BooleanOptionalAction,
        help="use log10 of the metric as height (default: no; in .glb and .py as in figures)",
    )
    parser.add_argument("--clip", type=float, metavar="V", help="draw values above V at the height of V")
    parser.add_argument(
        "--scale",
        type=_scale,
        metavar="F|auto",
        help="factor on the height; auto makes it half the width of the plane (default: 1; in .glb and .py auto)",
    )
    parser.add_argument("--cmap", help="matplotlib colour map of .glb and .py (default: viridis)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the requested files and print their paths. Raises InputError."""
    from lsweep.export.heights import Height
    from lsweep.export.vtk import PATH, write, write_path
    from lsweep.store.reader import read

    surface = read(Path(args.file))
    formats = args.format or []
    paths = output_paths(args.output, args.file, formats, "vti" if surface.ndim == 3 else "vts")
    for path in paths:
        written = write(
            surface, path, metric=args.metric, log=args.log, clip=args.clip, scale=args.scale, cmap=args.cmap
        )
        print(printable(str(written)))
    # .glb contains the training path, and .py comes with its own file of it.
    if surface.trajectory is not None and {p.suffix.lower() for p in paths} - {".glb", ".py"}:
        how = Height(args.metric, bool(args.log), args.clip, args.scale)
        print(printable(str(write_path(surface, paths[0].with_name(paths[0].stem + PATH), how))))
    return 0


def output_paths(output: str | None, file: str, formats: list[str], default: str) -> list[Path]:
    """Paths of the output files, by default next to the input. Raises InputError if OUT and the formats disagree."""
    path = Path(file).with_suffix("") if output is None else Path(output)
    if output is not None and path.is_dir():
        path = path / Path(file).stem
    elif output is not None and path.suffix.lower().removeprefix(".") in FORMATS:
        if any(path.suffix.lower() != f".{fmt}" for fmt in formats):
            raise InputError(f"--output {output} and --format name different formats", key="format")
        return [path]
    elif output is not None and not formats:
        return [path]  # `write` reports the valid suffixes
    return [path.with_name(f"{path.name}.{fmt}") for fmt in dict.fromkeys(formats or [default])]


def _scale(text: str) -> float | str:
    return text if text == "auto" else float(text)
