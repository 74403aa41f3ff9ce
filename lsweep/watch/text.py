"""Live view of a sweep in the terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TextIO

from lsweep.errors import InputError, printable
from lsweep.render.field import is_accuracy
from lsweep.render.look import Look
from lsweep.watch.cell_rendering import half_blocks, plain, ramp
from lsweep.watch.cells import Cells, raster
from lsweep.watch.follow import Follower, View
from lsweep.watch.state import State, state_of
from lsweep.watch.terminal import colour_depth, screen, size, write

_STEP = 0.1  # seconds between two checks of the terminal's size
_BAR = 30  # maximum number of characters


def watch_text(follower: Follower, look: Look, stream: TextIO, pause: float, once: bool = False) -> None:
    """Draw a sweep in place until it is complete; if the stream is not a terminal, print a line for every change.

    Args:
        follower: reads the file.
        look: metric and scale.
        stream: output stream, a terminal or not.
        pause: seconds between two pictures.
        once: draw the current state once and return.
    """
    depth = colour_depth(stream, os.environ)
    if not once and stream.isatty():
        with screen(stream) as paint:
            _until_complete(follower, pause, lambda view: paint(_fitting(view, look, stream, depth)), stream)
    elif not once:
        _until_complete(follower, max(pause, 5.0), _Log(stream), stream)
    write(stream, _fitting(follower.look(), look, stream, depth))


def frame(view: View, look: Look, columns: int, lines: int, depth: int) -> list[str]:
    """A view as at most `lines` lines of at most `columns` characters; for `depth` see `terminal.colour_depth`."""
    state = state_of(view)
    head = [printable(str(view.path)), _bar(state, columns, depth), *_wrapped(state, columns)]
    head = [line[:columns] for line in head]
    if view.surface is None:
        return head[:lines]
    try:
        room = lines - len(head) - 2
        tall, squat = (2, 1.0) if depth else (1, 0.5)
        cells = raster(view.surface, look, columns, room * tall, squat)
    except InputError as error:
        return [*head, str(error)[:columns]][:lines]
    picture = half_blocks(cells, depth) if depth else plain(cells)
    left = " " * ((columns - cells.units.shape[1]) // 2)
    return [
        *head,
        *(left + line for line in picture),
        _legend(cells, look, columns, depth),
        cells.words[:columns],
    ]


class _Log:
    """Prints a line for every change, for streams that are not terminals."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, ""

    def __call__(self, view: View) -> None:
        state = state_of(view)
        percent = "" if state.percent is None else f"{state.percent:.1f} %, "
        line = f"{state.phase}: {percent}{', '.join(filter(None, [*state.facts, state.note]))}"
        if line != self._last:
            self._last = line
            write(self._stream, [f"{time.strftime('%H:%M:%S')}  {line}"])


def _until_complete(follower: Follower, pause: float, show: Callable[[View], None], stream: TextIO) -> None:
    while True:
        view = follower.look()
        show(view)
        if view.phase == "complete":
            return
        _rest(pause, stream)


def _rest(pause: float, stream: TextIO) -> None:
    """Wait; return early if the size of the terminal changes."""
    until, before = time.monotonic() + pause, size(stream)
    while time.monotonic() < until and size(stream) == before:
        time.sleep(min(_STEP, pause))


def _fitting(view: View, look: Look, stream: TextIO, depth: int) -> list[str]:
    columns, lines = size(stream)
    # Some terminals scroll if the last line or column is full.
    return frame(view, look, columns - 1, lines - 1, depth)


def _bar(state: State, columns: int, depth: int) -> str:
    words = f"{state.phase} ({state.note})" if state.note else state.phase
    if state.percent is None:
        return words
    width = max(0, min(_BAR, columns - 40))
    full = int(width * state.percent / 100)
    bar = "█" * full + "░" * (width - full) if depth else "[" + "#" * full + " " * (width - full) + "]"
    return f"{bar} {state.percent:.1f} %  {words}"


def _wrapped(state: State, columns: int) -> list[str]:
    """The facts in as few lines as possible, without breaking a fact."""
    lines: list[str] = []
    for fact in state.facts:
        if lines and len(lines[-1]) + 3 + len(fact) <= columns:
            lines[-1] += f" | {fact}"
        else:
            lines.append(fact)
    return lines


def _legend(cells: Cells, look: Look, columns: int, depth: int) -> str:
    scale = cells.scale
    unit = " %" if is_accuracy(look.metric) else ""
    low, high = (f"{_short(end)}{unit}" for end in (scale.vmin, scale.vmax))
    log = " (log)" if scale.log else ""
    width = columns - len(f"{look.metric}{log}  {low}  {high}")
    if width < 4:
        return f"{look.metric}{log} {low} to {high}"[:columns]
    return f"{look.metric}{log}  {low} {ramp(cells, min(width, 40), depth)} {high}"


def _short(value: float) -> str:
    return f"{value:.4g}"
