"""The verbs `lsweep status` and `lsweep watch`."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsweep.errors import InputError, one_line, printable

if TYPE_CHECKING:
    from lsweep.watch.server import Server

PORT = 8765
INTERRUPTED = 130  # exit status of a program interrupted with Ctrl-C
EPILOG = """examples:
  lsweep watch results/resnet56.h5 --open
  ssh -t -L 8765:localhost:8765 cluster lsweep watch results/resnet56.h5
  lsweep watch results/resnet56.h5 --text
"""
PAGE_ONLY = {"host": "127.0.0.1", "port": PORT, "open": False}


def add_parser(subparsers: Any) -> None:
    """Add the verbs `status` and `watch` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "status",
        help="show a sweep's progress",
        description="Show a sweep's progress, from its file alone; the sweep may be running.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="HDF5 files of sweeps")
    parser.set_defaults(run=show_status)
    parser = subparsers.add_parser(
        "watch",
        help="show the surface of a running sweep live, in the browser or the terminal",
        description="Show the progress of a running sweep and its surface as it fills in. The file need not exist yet."
        " By default it serves a web page that only this machine can open, until you press Ctrl-C. The picture in the"
        " terminal (--text) stops when the sweep is complete.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="HDF5 file of a sweep; need not exist yet")
    _add_page(parser)
    text = parser.add_argument_group("terminal")
    text.add_argument("--text", action="store_true", help="draw in this terminal instead of serving a page")
    text.add_argument(
        "--once", action="store_true", help="draw the current state once in this terminal, and exit"
    )
    look = parser.add_argument_group("display")
    look.add_argument("--metric", default="loss", help="loss, accuracy, loss_test, … (default: loss)")
    look.add_argument(
        "--log",
        action=argparse.BooleanOptionalAction,
        help="logarithmic scale (default: depends on the values)",
    )
    look.add_argument("--cmap", help="matplotlib colour map (default: viridis)")
    look.add_argument(
        "--interval", type=float, default=2.0, metavar="S", help="update every S seconds (default: 2)"
    )
    parser.set_defaults(run=run)


def _add_page(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("page")
    group.add_argument(
        "--host",
        default=PAGE_ONLY["host"],
        help="address to serve the page at (default: 127.0.0.1, this machine only)",
    )
    group.add_argument(
        "--port",
        type=int,
        default=PORT,
        metavar="N",
        help=f"port to serve it at; 0 for a free one (default: {PORT})",
    )
    group.add_argument("--open", action="store_true", help="open the page in the browser")


def show_status(args: argparse.Namespace) -> int:
    """Print the progress of each file. Raises InputError."""
    from lsweep.store.reader import read
    from lsweep.watch import status

    for path in args.files:
        print(status.describe(read(Path(path))))
    return 0


def run(args: argparse.Namespace) -> int:
    """Watch until the sweep is complete, or until Ctrl-C. Raises InputError."""
    if not (math.isfinite(args.interval) and 0.05 <= args.interval <= 86400):
        raise InputError(f"--interval must be 0.05 to 86400 seconds, got {args.interval:g}", key="interval")
    if not (args.text or args.once):
        return _page(args)
    for name, default in PAGE_ONLY.items():
        if getattr(args, name) != default:
            raise InputError(f"--{name} is for the page; it cannot be used with --text or --once", key=name)
    return _text(args)


def _text(args: argparse.Namespace) -> int:
    from lsweep.watch.text import watch_text

    if args.once and not os.path.lexists(args.file):
        raise InputError(f"no file at {args.file!r}; omit --once to wait for it", key="file")
    follower, look = _follower_and_look(args)
    try:
        watch_text(follower, look, sys.stdout, args.interval, args.once)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _page(args: argparse.Namespace) -> int:
    from lsweep.watch.responses import Site
    from lsweep.watch.server import Server

    follower, look = _follower_and_look(args)
    site = Site(follower, look, args.interval)
    with Server(site, args.host, args.port) as server:
        _announce(server, args.file)
        if args.open:
            _open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        follower.close()
    return 0


def _follower_and_look(args: argparse.Namespace) -> tuple[Any, Any]:
    """The reader of the file and the display options, checked against each other if the file exists."""
    from lsweep.render.look import Look
    from lsweep.render.scale import colormap
    from lsweep.watch.follow import Follower
    from lsweep.watch.responses import Site

    look = Look(args.metric, "auto" if args.log is None else args.log, cmap=args.cmap)
    if args.cmap:
        colormap(args.cmap)
    follower = Follower(Path(args.file), pause=args.interval / 2)
    Site(follower, look, args.interval).check()
    return follower, look


def _announce(server: Server, file: str) -> None:
    print(server.url, flush=True)
    _say(f"watching {printable(file)}; press Ctrl-C to stop")
    if not server.loopback:
        _say(
            f"warning: anyone who can reach port {server.port} of this machine can see this sweep without a password;"
            " use --host 127.0.0.1 to serve this machine only"
        )
    elif "SSH_CONNECTION" in os.environ:
        port = server.port
        _say(
            f"on your own machine run: ssh -L {port}:localhost:{port} {socket.gethostname()}, then open {server.url}"
        )


def _open(url: str) -> None:
    import webbrowser

    try:
        opened = webbrowser.open(url)
    except webbrowser.Error:
        opened = False
    if not opened:
        _say(f"warning: no browser could be started; open {url}")


def _say(words: str) -> None:
    print(f"lsweep: {one_line(words)}", file=sys.stderr, flush=True)
