"""Terminal capabilities and size, and drawing in place."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

# The other screen, without a cursor; and back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


def colour_depth(stream: TextIO, environment: Mapping[str, str]) -> int:
    """Bits of colour to paint with: 24, 8, or 0 for plain ASCII.

    0 where the stream is no terminal, or one that knows neither 256 colours nor block characters, or `NO_COLOR` is set.
    """
    term = environment.get("TERM", "dumb")
    encoding = (getattr(stream, "encoding", "") or "").lower().replace("-", "")
    if not stream.isatty() or environment.get("NO_COLOR") or term in ("dumb", "linux", "vt100"):
        return 0
    if encoding != "utf8":
        return 0
    return 24 if environment.get("COLORTERM") in ("truecolor", "24bit") or "direct" in term else 8


def size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines: the terminal's own, else `COLUMNS` and `LINES`, else 80 and 24."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        found = shutil.get_terminal_size()
    return max(1, found.columns or 80), max(1, found.lines or 24)


@contextmanager
def screen(stream: TextIO) -> Iterator[Callable[[list[str]], None]]:
    """Give what paints lines in place, on the terminal's other screen; afterwards all is as it was.

    Also after SIGTERM, which ends the process as an exit does.
    """
    before = signal.signal(signal.SIGTERM, _exit)
    stream.write(_ENTER)
    try:
        yield lambda lines: _paint(stream, lines)
    finally:
        stream.write(_LEAVE)
        stream.flush()
        signal.signal(signal.SIGTERM, before)


def write(stream: TextIO, lines: list[str]) -> None:
    """Write lines; a character that the stream cannot take becomes a question mark."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = "\n".join(lines) + "\n"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def _paint(stream: TextIO, lines: list[str]) -> None:
    # At once and over what was there, so that nothing flickers.
    stream.write(_HOME + "\n".join(line + _TO_LINE_END for line in lines) + _TO_SCREEN_END)
    stream.flush()


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
