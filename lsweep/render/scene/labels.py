"""Titles, colour bar and axis labels of a scene, rendered with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from lsweep.render import frame
from lsweep.render.field import LETTERS, Field
from lsweep.render.levels import plain
from lsweep.render.scale import Scale
from lsweep.render.scene.camera import View
from lsweep.render.scene.height_field import FLOOR, RIM, Relief

DPI = 100.0
BAR = 0.13  # width reserved for the colour bar right of the panels, relative to the picture's height
HIGHEST = 65.0  # maximum elevation in degrees; seen from above, the surface hides the floor and its labels
TYPE = 0.032  # font size relative to the picture's height


def bar_width(height: int) -> int:
    """The width reserved for the colour bar, in pixels."""
    return round(BAR * height * 1.35)


def layer(
    size: tuple[int, int], captions: Sequence[tuple[str, Sequence[str]]], scale: Scale, name: str, color: str
) -> np.ndarray:
    """Titles and colour bar on a transparent background: (height, width, 4) uint8, colours premultiplied by alpha.

    Args:
        size: width and height in pixels.
        captions: title and remarks of each panel, left to right.
        scale: scale of the colours.
        name: name of the metric.
        color: colour of the text.
    """
    width, height = size
    panel = (width - bar_width(height)) / len(captions)
    with matplotlib.rc_context(_style(height, color)):
        figure = _figure(size)
        for k, (title, notes) in enumerate(captions):
            middle = (k + 0.5) * panel / width
            figure.text(middle, 0.965, title, ha="center", va="top", fontsize="large", wrap=False)
            remark = " · ".join(notes)
            figure.text(
                middle, 0.965 - 1.75 * TYPE, remark, ha="center", va="top", fontsize="x-small", alpha=0.7
            )
        bar = figure.add_axes(
            (1 - 0.92 * bar_width(height) / width, 0.17, 0.16 * bar_width(height) / width, 0.62)
        )
        _draw_bar(figure, bar, scale, name)
        return _pixels(figure)


def sprite(text: str, height: int, color: str, scale: float = 1.0) -> np.ndarray:
    """A short text as a tightly cropped picture, premultiplied like `layer`."""
    with matplotlib.rc_context(_style(round(height * scale), color)):
        figure = _figure((round(0.3 * height), round(0.12 * height)))
        figure.text(0.5, 0.5, text, ha="center", va="center")
        picture = _pixels(figure)
    rows, columns = (np.flatnonzero(picture[..., 3].any(axis=axis)) for axis in (1, 0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else picture[:1, :1]


class EdgeLetters:
    """Labels of a plane's axes and of the coordinates at their ends, along the two edges nearest to the camera."""

    def __init__(self, field: Field, height: int, color: str) -> None:
        self._names = [sprite(LETTERS[name], height, color) for name in field.names]
        self._ends = [
            [sprite(plain(float(axis[end])).replace("-", "−"), height, color, 0.75) for end in (0, -1)]
            for axis in field.axes
        ]

    def placed(
        self, relief: Relief, view: View, width: int, height: int
    ) -> list[tuple[np.ndarray, tuple[int, int]]]:
        """Each text with the pixel of its upper left corner in a panel of the given size."""
        if view.elevation > HIGHEST:
            return []
        sides = [1 if at >= 0 else -1 for at in view.eye[:2]]
        half = np.array([relief.x[-1], relief.y[-1]])
        out = half + 2.2 * RIM
        pictures, points = [], []
        for axis in (0, 1):
            for at, picture in zip((0.0, -0.9, 0.9), [self._names[axis], *self._ends[axis]], strict=True):
                point = np.array([0.0, 0.0, FLOOR])
                point[axis] = at * half[axis]
                point[1 - axis] = sides[1 - axis] * out[1 - axis]
                pictures.append(picture)
                points.append(point)
        pixels = np.rint(view.project(np.array(points), width, height)).astype(int)
        return [
            (picture, (int(x) - picture.shape[1] // 2, int(y) - picture.shape[0] // 2))
            for picture, (x, y) in zip(pictures, pixels, strict=True)
        ]


def _draw_bar(figure: Figure, bar: Any, scale: Scale, name: str) -> None:
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}
    beyond = (scale.lo < scale.vmin, scale.hi > scale.vmax)
    drawn = figure.colorbar(
        ScalarMappable(scale.norm(), scale.cmap), cax=bar, extend=extend.get(beyond, "neither")
    )
    frame.ticks(drawn.ax.yaxis, scale)
    drawn.ax.yaxis.set_major_formatter(lambda value, _: plain(value))
    drawn.ax.set_title(name, fontsize="medium", loc="left")
    drawn.outline.set_linewidth(0.0)


def _style(height: int, color: str) -> Any:
    point = TYPE * height * 72 / DPI * 0.8
    kinds = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")
    sizes = {
        "font.size": point,
        "ytick.labelsize": 0.85 * point,
        "axes.titlesize": point,
        "mathtext.fontset": "dejavusans",
    }
    return {**frame.STYLE, **dict.fromkeys(kinds, color), **sizes}


def _figure(size: tuple[int, int]) -> Figure:
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="none")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Figure) -> np.ndarray:
    canvas: Any = figure.canvas
    canvas.draw()
    picture = np.array(canvas.buffer_rgba())
    picture[..., :3] = np.rint(picture[..., :3] * (picture[..., 3:] / 255.0))
    return picture
