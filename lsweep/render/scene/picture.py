"""Saves scenes side by side as a PNG file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
import numpy as np

from lsweep.errors import InputError
from lsweep.render.look import Look
from lsweep.render.output import METADATA
from lsweep.render.scene.frames import Show, Size, unmultiplied
from lsweep.surface import Surface
from lsweep.tools.files import write_bytes

OVERSAMPLE = 2
LARGEST = 8000  # maximum pixels along a side for oversampling


def save_scene(
    surfaces: Sequence[Surface],
    path: Path,
    look: Look,
    *,
    titles: Sequence[str] | None = None,
    size: tuple[int, int],
    background: str = "white",
) -> Path:
    """Draw planes side by side, on a common scale, as lit surfaces with contour lines and the training path.

    Args:
        surfaces: the surfaces, left to right.
        path: the output file, ending in .png.
        look: as for figures.
        titles: one per surface; None uses the networks' names.
        size: width and height in pixels.
        background: "white", "black" or "transparent".

    Returns:
        The path.

    Raises:
        InputError: the surfaces cannot be drawn with these options, or the file cannot be written.
        MissingExtra: PyVista is not installed.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"cannot write a scene to {path}: expected a name that ends in .png", key="output")
    oversample = OVERSAMPLE if max(size) <= LARGEST else 1
    show = Show(surfaces, look, titles, Size(*size), background=background, oversample=oversample)
    try:
        picture = show.frame(show.view())
    finally:
        show.close()
    write_bytes(path, png(picture, opaque=background != "transparent"))
    return path


def png(picture: np.ndarray, *, opaque: bool) -> bytes:
    """A premultiplied picture as PNG."""
    buffer = io.BytesIO()
    straight = picture[..., :3] if opaque else unmultiplied(picture)
    matplotlib.image.imsave(buffer, straight, format="png", metadata=METADATA["png"])
    return buffer.getvalue()
