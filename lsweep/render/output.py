"""Figure file formats by suffix, with reproducible bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from lsweep.errors import InputError

MARGIN = 0.04  # inches, above and below
# None omits the entry: with a date, two runs would differ.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "lsweep"},
    "pdf": {"Creator": "lsweep", "CreationDate": None},
    "svg": {"Creator": "lsweep", "Date": None},
}


def format_of(path: Path) -> str:
    """The figure format given by the suffix of a path. Raises InputError, which lists the valid ones."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in METADATA:
        valid = ", ".join(f".{known}" for known in METADATA)
        raise InputError(
            f"cannot draw into {path}: expected a name that ends in one of {valid}", key="output"
        )
    return suffix


def encode(figure: Figure, fmt: str, dpi: float) -> bytes:
    """Render the figure; `dpi` is the resolution of PNG and of rasterised parts of PDF and SVG.

    The figure keeps its width; empty space above and below the drawing is cut off.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=fmt, dpi=dpi, metadata=METADATA[fmt], bbox_inches=_filled_height(figure))
    return buffer.getvalue()


def _filled_height(figure: Figure) -> Bbox:
    """The figure's bounds in inches, with the height cropped to the drawing."""
    drawn = figure.get_tightbbox()
    if any(ax.name == "3d" for ax in figure.axes):
        return Bbox.from_bounds(0.0, 0.0, figure.get_figwidth(), figure.get_figheight())
    return Bbox.from_extents(0.0, drawn.y0 - MARGIN, figure.get_figwidth(), drawn.y1 + MARGIN)
