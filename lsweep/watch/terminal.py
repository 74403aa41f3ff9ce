"""Terminal capabilities, terminal size, and drawing in place."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

# Switch to the alternate screen and hide the cursor; and back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"


def colour_depth(stream: TextIO, environment: Mapping[str, str]) -> int:
    """Colour depth in bits: 24, 8, or 0 for plain ASCII.

    It is 0 if the stream is not a terminal, the terminal lacks 256 colours or block characters, or `NO_COLOR` is set.
    """
    term = environment.get("TERM", "dumb")
    encoding = (getattr(stream, "encoding", "") or "").lower().replace("-", "")
    if not stream.isatty() or environment.get("NO_COLOR") or term in ("dumb", "linux", "vt100"):
        return 0
    if encoding != "utf8":
        return 0
    return 24 if environment.get("COLORTERM") in ("truecolor", "24bit") or "direct" in term else 8


def size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines: from the terminal, else from `COLUMNS` and `LINES`, else 80 and 24."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        found = shutil.get_terminal_size()
    return max(1, found.columns or 80), max(1, found.lines or 24)


@contextmanager
def screen(stream: TextIO) -> Iterator[Callable[[list[str]], None]]:
    """Yield a function that paints lines in place on the terminal's alternate screen; restore the screen at the end.

    The screen is also restored after SIGTERM, which raises SystemExit here.
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
    """Write lines; characters that the stream cannot encode become question marks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = "\n".join(lines) + "\n"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def _paint(stream: TextIO, lines: list[str]) -> None:
    # One write over the previous picture avoids flicker.
    stream.write(_HOME + "\n".join(line + _TO_LINE_END for line in lines) + _TO_SCREEN_END)
    stream.flush()


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
