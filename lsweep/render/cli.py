"""The verb `lsweep render`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsweep.errors import InputError, printable
from lsweep.render.look import KINDS
from lsweep.render.styles import STYLES

if TYPE_CHECKING:
    from lsweep.surface import Surface

FORMATS = ("png", "pdf", "svg")
EPILOG = """examples:
  lsweep render resnet56.h5
  lsweep render resnet56.h5 resnet56_noshort.h5 --kind surface --clip 100 -o figure1.pdf
  lsweep render resnet56.h5 resnet56_noshort.h5 --kind scene --background transparent
  lsweep render resnet56.h5 resnet56_noshort.h5 --html compare.html
"""
# Names of the arguments that do not apply to a page.
FIGURES_ONLY = ("output", "format", "kind", "dpi", "width", "background", "style")


def add_parser(subparsers: Any) -> None:
    """Add the verb `render` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "render",
        help="draw sweeps into a PNG, PDF or SVG figure, or an interactive page",
        description="Draw one or several sweeps side by side, on a common scale. An unfinished sweep is drawn with"
        " its pending points blank.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="HDF5 file of a sweep")
    _add_output(parser)
    add_scale(parser)
    parser.set_defaults(run=run, figures_only={name: parser.get_default(name) for name in FIGURES_ONLY})


def run(args: argparse.Namespace) -> int:
    """Draw the figure or page and print its path. Raises InputError."""
    from lsweep.store.reader import read

    if args.html is not None:
        _refuse_for_a_page(args)
    surfaces = [read(Path(file)) for file in args.files]
    options = {**scale_options(args), "titles": args.title, "show_evaluated": args.show_evaluated}
    write = _figure if args.html is None else _page
    print(printable(str(write(args, surfaces, options))))
    return 0


def scale_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_scale` as keywords of `look.LookOptions`. Raises InputError."""
    options: dict[str, Any] = {key: getattr(args, key) for key in ("metric", "clip", "vmin", "vmax", "cmap")}
    return options | {
        "log": "auto" if args.log is None else args.log,
        "levels": parse_levels(args.levels),
        "index": args.slice,
    }


def _figure(args: argparse.Namespace, surfaces: Sequence[Surface], options: dict[str, Any]) -> Path:
    from lsweep.render.figure import resolve_kind, save

    kind = resolve_kind(args.kind, surfaces)
    path = output_path(args.output, args.files, kind, args.format)
    own = {name: getattr(args, name) for name in ("dpi", "width", "background", "style")}
    return save(surfaces, path, kind=kind, **own, **options)


def _page(args: argparse.Namespace, surfaces: Sequence[Surface], options: dict[str, Any]) -> Path:
    from lsweep.render.page.assemble import save_page

    return save_page(surfaces, args.html, **options)


def _refuse_for_a_page(args: argparse.Namespace) -> None:
    for name, default in args.figures_only.items():
        if getattr(args, name) != default:
            raise InputError(f"--{name} is for figures; it cannot be used with --html", key=name)


def output_path(output: str | None, files: Sequence[str], kind: str, fmt: str | None) -> Path:
    """Path of the figure: OUT, or STEM_KIND.png next to the first file. Raises InputError."""
    name = f"{_stem(files)}_{kind}.{fmt or FORMATS[0]}"
    if output is None:
        return Path(files[0]).with_name(name)
    path = Path(output)
    if path.is_dir():
        return path / name
    suffix = path.suffix.lower().removeprefix(".")
    if fmt is None or suffix == fmt:
        return path
    if suffix in FORMATS:
        raise InputError(f"--output {output} and --format {fmt} name different formats", key="format")
    return path.with_name(f"{path.name}.{fmt}")


def parse_levels(text: str | None) -> int | list[float] | None:
    """Contour levels from the command line: "12" is their number, "0.1,1,10" are the levels. Raises InputError."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",") if part.strip()] if "," in text else int(text)
    except ValueError:
        raise InputError(
            f"--levels must be a whole number or numbers separated by commas, got {text!r}", key="levels"
        ) from None


def _stem(files: Sequence[str]) -> str:
    stems = [Path(file).stem for file in files]
    return "+".join(stems) if len(stems) <= 3 else f"{stems[0]}+{len(stems) - 1}_more"


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("figure")
    group.add_argument(
        "-o", "--output", metavar="OUT", help="output file or folder (default: the stem of FILE and the kind)"
    )
    group.add_argument(
        "--html",
        metavar="PAGE",
        help="write an interactive page instead, as one file that works offline; surfaces and maps can be rotated and"
        " clipped, and values are shown under the pointer",
    )
    group.add_argument("--format", choices=FORMATS, help="format, if OUT has no suffix (default: png)")
    group.add_argument(
        "--kind",
        choices=KINDS,
        default="auto",
        help="auto: line for lines, contour for planes and the middle slice of boxes; curvature: a map of"
        " |smallest/largest eigenvalue of the Hessian|; scene: a lit surface (PNG; needs the extra [vtk])",
    )
    group.add_argument(
        "--background",
        choices=("white", "black", "transparent"),
        help="background of a scene (default: white)",
    )
    group.add_argument(
        "--style",
        choices=STYLES,
        help="li2018: the colours and levels of the figures of Li et al. 2018 (default: lsweep)",
    )
    group.add_argument("--title", action="append", metavar="T", help="title of a panel; once per FILE")
    group.add_argument("--dpi", type=float, default=300.0, help="pixels per inch (default: 300)")
    group.add_argument("--width", type=float, metavar="INCHES", help="width of the whole figure")
    group.add_argument(
        "--show-evaluated",
        action="store_true",
        help="mark the evaluated points of a refined sweep with dots; the others are interpolated",
    )


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Add the options of `scale_options`."""
    group = parser.add_argument_group("values and scale (accuracy in per cent)")
    group.add_argument(
        "--metric", default="loss", help="loss, accuracy, loss_test, eig_min, … (default: loss)"
    )
    group.add_argument(
        "--log",
        action=argparse.BooleanOptionalAction,
        help="logarithmic scale (default: if a loss spans more than a factor of 50)",
    )
    group.add_argument("--clip", type=float, metavar="V", help="draw values above V at V")
    group.add_argument("--vmin", type=float, metavar="V", help="lower end of the scale")
    group.add_argument("--vmax", type=float, metavar="V", help="upper end of the scale")
    group.add_argument("--levels", metavar="N|A,B,…", help="about N contour levels, or the levels themselves")
    group.add_argument(
        "--slice",
        type=int,
        metavar="K",
        help="index along z of a box, or along y of a plane drawn as a line (default: nearest to 0)",
    )
    group.add_argument("--cmap", help="matplotlib colour map (default: viridis)")
