"""The verb `lsweep movie`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lsweep.errors import InputError, printable

EPILOG = """examples:
  lsweep movie resnet56.h5 resnet56_noshort.h5 -o turntable.mp4
  lsweep movie resnet56.h5 --motion fly-in --seconds 8 --background black -o fly.mp4
  lsweep movie resnet56.h5 --seconds 3 -o small.gif
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `movie` to an argparse subparsers object."""
    from lsweep.render.cli import add_scale

    parser = subparsers.add_parser(
        "movie",
        help="make a movie of sweeps as lit surfaces, as MP4 or GIF",
        description="Make a movie of one or several planes side by side, on a common scale, as lit surfaces with"
        " contour lines and the training path. Needs the extra [movie].",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="HDF5 file of a sweep")
    group = parser.add_argument_group("movie")
    group.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="output file, ending in .mp4 or .gif"
    )
    group.add_argument(
        "--motion",
        choices=("turntable", "fly-in"),
        default="turntable",
        help="turntable: one full rotation that can be looped (the default); fly-in: the camera moves from"
        " above the surface to the view used by `lsweep render --kind scene`",
    )
    group.add_argument("--seconds", type=float, default=5.0, metavar="S", help="duration (default: 5)")
    group.add_argument(
        "--fps", type=float, metavar="N", help="frames per second (default: 30; for a GIF 20, at most 50)"
    )
    group.add_argument(
        "--size", metavar="WxH", help="width and height in pixels (default: 1280x720; for a GIF 640x360)"
    )
    group.add_argument(
        "--background", choices=("white", "black"), default="white", help="background colour (default: white)"
    )
    group.add_argument("--title", action="append", metavar="T", help="title of a panel; once per FILE")
    group.add_argument("--quiet", action="store_true", help="show no progress")
    add_scale(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the movie and print its path. Raises InputError."""
    from lsweep.render.cli import scale_options
    from lsweep.render.look import Look
    from lsweep.render.scene.encode import format_of
    from lsweep.render.scene.movie import Film, save_movie
    from lsweep.store.reader import read
    from lsweep.tools.progress import Silent, default

    path = Path(args.output)
    fps = format_of(path).fps if args.fps is None else args.fps
    film = Film(args.motion, args.seconds, fps, args.background)
    size = None if args.size is None else parse_size(args.size)
    look = Look(**scale_options(args))
    surfaces = [read(Path(file)) for file in args.files]
    progress = Silent() if args.quiet else default("frame")
    save_movie(surfaces, path, look, film=film, titles=args.title, size=size, progress=progress)
    print(printable(str(path)))
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from the command line: "1280x720". Raises InputError."""
    try:
        width, height = text.lower().replace("×", "x").split("x")
        return int(width), int(height)
    except ValueError:
        raise InputError(
            f"--size must be width x height in pixels, as in 1280x720, got {text!r}", key="size"
        ) from None
