"""Text rendering of cells: half blocks in 24-bit or 256 colours, or plain ASCII."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from lsweep.watch.cells import Cells, Kind

ASCII = ".:-=+*#%@"  # from the lowest to the highest value
_MARKS = {Kind.NOTHING: " ", Kind.NAN: "?", Kind.FAILED: "x"}
_GREY, _RED = (150, 150, 150), (230, 60, 50)
RESET = "\x1b[0m"
_STEPS = np.array([0, 95, 135, 175, 215, 255])  # of the 6 × 6 × 6 colours from 16 on


def plain(cells: Cells) -> list[str]:
    """A character per cell: `ASCII` by its value, "?" for a NaN, "x" for a failed point."""
    index = np.nan_to_num(cells.units * len(ASCII)).astype(int).clip(0, len(ASCII) - 1)
    return [
        "".join(
            ASCII[k] if kind == Kind.VALUE else _MARKS[Kind(kind)] for k, kind in zip(row, kinds, strict=True)
        )
        for row, kinds in zip(index, cells.kinds, strict=True)
    ]


def half_blocks(cells: Cells, depth: int) -> list[str]:
    """Two rows of cells per line of text, in 24-bit colour or, at depth 8, in the terminal's 256 colours."""
    colours = _colours(cells, depth)
    if len(colours) % 2:
        colours = [*colours, [""] * len(colours[0])]
    return [_line(upper, lower) for upper, lower in zip(colours[::2], colours[1::2], strict=True)]


def ramp(cells: Cells, width: int, depth: int) -> str:
    """The scale from its lowest to its highest value, as a line of `width` characters."""
    if not depth:
        return "".join(ASCII[k * len(ASCII) // width] for k in range(width))
    units = np.linspace(0, 1, width)[None].repeat(2, axis=0)
    kinds = np.full(units.shape, Kind.VALUE, np.uint8)
    return half_blocks(Cells(units, kinds, cells.scale, ""), depth)[0]


def _line(upper: list[str], lower: list[str]) -> str:
    parts = []
    for (above, below), run in groupby(zip(upper, lower, strict=True)):
        count = len(list(run))
        if above and below:
            parts.append(f"\x1b[38;{above};48;{below}m" + "▀" * count)
        elif above or below:
            parts.append(f"{RESET}\x1b[38;{above or below}m" + ("▀" if above else "▄") * count)
        else:
            parts.append(RESET + " " * count)
    return "".join(parts) + RESET


def _colours(cells: Cells, depth: int) -> list[list[str]]:
    """The colour of each cell as an SGR parameter ("2;r;g;b" or "5;n"); "" for empty cells."""
    rgb = np.rint(cells.scale.cmap(np.nan_to_num(cells.units))[..., :3] * 255).astype(int)
    rgb[cells.kinds == Kind.NAN], rgb[cells.kinds == Kind.FAILED] = _GREY, _RED
    if depth == 8:
        names = _nearest(rgb).astype(str)
        found = np.char.add("5;", names)
    else:
        r, g, b = (rgb[..., k].astype(str) for k in range(3))
        found = np.char.add("2;", np.char.add(np.char.add(np.char.add(r, ";"), np.char.add(g, ";")), b))
    return np.where(cells.kinds == Kind.NOTHING, "", found).tolist()


def _nearest(rgb: np.ndarray) -> np.ndarray:
    """The number of the nearest of a terminal's 6 × 6 × 6 colours."""
    steps = np.abs(rgb[..., None] - _STEPS).argmin(axis=-1)
    return 16 + steps @ np.array([36, 6, 1])
