"""HTML representation of a surface in notebooks: a small table and a heat map."""

from __future__ import annotations

import base64
import html as markup
import io

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import imsave

from lsweep.errors import printable
from lsweep.surface import Status, Surface

SIZE = 180  # CSS pixels along the longer side of the picture
MOST_PIXELS = 256  # of the picture along a side; more would bloat the notebook
LINE_HEIGHT = 60
LOG_RATIO = 50  # as in figures, see `lsweep.render.scale`
MOST_METRICS = 12


def html(surface: Surface) -> str:
    """An HTML fragment with a table of axes, points and metric ranges, and a heat map of the loss.

    All text from the file is escaped.
    """
    rows = [("grid", _grid(surface)), ("points", _points(surface))]
    rows += [(name, _range(surface, name)) for name in list(surface.metrics)[:MOST_METRICS]]
    if surface.path is not None:
        rows.append(("file", surface.path.name))
    cells = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th><td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in rows
    )
    return (
        '<div style="display:flex;gap:1em;align-items:center">'
        f"{picture(surface)}<table><caption>lsweep Surface</caption>{cells}</table></div>"
    )


def picture(surface: Surface) -> str:
    """The loss as an `<img>`: a plane with y upwards, the middle slice of a box, or a line as a strip.

    Colours are those of figures: viridis, on a logarithmic scale if the values span more than a factor of `LOG_RATIO`.
    Points without a value are transparent. A large grid is subsampled.
    """
    values = surface.filled("loss")
    while values.ndim > 2:
        values = values[len(values) // 2]
    plane = np.atleast_2d(values)[::-1]  # an image's first row is its top
    steps = [-(-n // MOST_PIXELS) for n in plane.shape]
    image = io.BytesIO()
    imsave(image, _colours(plane[:: steps[0], :: steps[1]]), format="png")
    width, height = _size(surface)
    data = base64.b64encode(image.getvalue()).decode()
    return (
        f'<img alt="heat map of the loss" width="{width}" height="{height}" style="image-rendering:pixelated" '
        f'src="data:image/png;base64,{data}">'
    )


def _text(text: str) -> str:
    return markup.escape(printable(text[:200]))


def _grid(surface: Surface) -> str:
    return ", ".join(f"{n} ∈ [{v[0]:g}, {v[-1]:g}] × {len(v)}" for n, v in surface.axes.items())


def _points(surface: Surface) -> str:
    counts = [(surface.count(status), status.name.lower()) for status in Status]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _range(surface: Surface, name: str) -> str:
    values = surface.metrics[name]
    finite = values[np.isfinite(values)]
    odd = int((surface.done & ~np.isfinite(values)).sum())
    beside = f", {odd} not finite" if odd else ""
    return f"{finite.min():.4g} … {finite.max():.4g}{beside}" if len(finite) else f"no finite value{beside}"


def _size(surface: Surface) -> tuple[int, int]:
    """Width and height in CSS pixels, in the proportions of the plane."""
    if surface.ndim == 1:
        return SIZE, LINE_HEIGHT
    x, y = (max(float(axis[-1] - axis[0]), 1e-300) for axis in (surface.x, surface.y))
    ratio = min(max(y / x, 1 / 3), 3.0)
    return (SIZE, round(SIZE * ratio)) if ratio <= 1 else (round(SIZE / ratio), SIZE)


def _colours(values: np.ndarray) -> np.ndarray:
    """RGBA colours, uint8, of the shape of the values with a last axis of length 4."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    norm = (LogNorm if low > 0 and high > LOG_RATIO * low else Normalize)(low, high)
    with np.errstate(over="ignore", invalid="ignore"):
        return colormaps["viridis"](norm(np.ma.masked_invalid(np.clip(values, low, high))), bytes=True)
