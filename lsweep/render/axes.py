"""Drawing functions for notebooks: a surface into a matplotlib `Axes`."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lsweep.errors import InputError, nearest
from lsweep.render.field import wide_axes
from lsweep.render.look import Look, LookOptions
from lsweep.render.panels import check_axes, draw_panels, finish
from lsweep.render.styles import styled
from lsweep.surface import Surface
from lsweep.tools.progress import in_notebook


def line(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw a line: the metric on `ax`; beside a loss the accuracy, in per cent, on a twin axis; every split.

    Args:
        surface: a line; of a plane or box one row is drawn (`index`, by default the one nearest to 0).
        ax: where to draw; None makes a figure.
        options: see `look.LookOptions`.

    Returns:
        The axes of the metric; the twin is another of `ax.figure.axes`.

    Raises:
        InputError: unknown metric, or an option that makes no sense.
    """
    return _draw("line", surface, ax, options)


def contour(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw contour lines of a plane with their levels written into them, the centre marked.

    Args:
        surface: a plane, (ny, nx); of a box one slice is drawn (`index`, by default the one nearest to 0).
        ax: where to draw; None makes a figure.
        options: see `look.LookOptions`.

    Returns:
        The axes; the lines are a `matplotlib.contour.ContourSet` among `ax.collections`, unless no level
        occurs in the surface.

    Raises:
        InputError: not a plane, unknown metric, or an option that makes no sense.
    """
    return _draw("contour", surface, ax, options)


def filled(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw filled contours of a plane with a colour bar. Arguments, returns and errors as for `contour`."""
    return _draw("filled", surface, ax, options)


def heatmap(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw a plane as cells around its points, with a colour bar: no interpolation, pending points blank.

    Arguments, returns and errors as for `contour`; the cells are `ax.collections[0]`.
    """
    return _draw("heatmap", surface, ax, options)


def surface3d(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw a plane as a lit surface. Arguments, returns and errors as for `contour`; `ax` is a 3D axes."""
    return _draw("surface", surface, ax, options)


def trajectory(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw contour lines and over them the training's path: square start, star end, rings where the rate drops.

    Arguments, returns and errors as for `contour`; the sweep must have been made with `directions.trail`.
    """
    return _draw("trajectory", surface, ax, options)


DRAWERS = {
    function.__name__: function for function in (line, contour, filled, heatmap, surface3d, trajectory)
}


def draw(surface: Surface, kind: str, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Call the drawing function of that name; "surface" is `surface3d`, and a line is drawn by `line`.

    Arguments, returns and errors as for `contour`.
    """
    kind = {"surface": "surface3d"}.get(kind, kind)
    if kind not in DRAWERS:
        raise InputError(f"unknown kind of figure {kind!r}{nearest(kind, DRAWERS)}", key="kind")
    return DRAWERS["line" if wide_axes(surface) == 1 else kind](surface, ax, **options)


def figure_of(
    kind: str,
    panels: int,
    size: tuple[float, float],
    *,
    shown: bool = False,
    widths: list[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Empty panels in a row, `size` in inches, in a figure of which pyplot, and so the user's backend, never hears.

    Unless it is to be `shown`: a notebook shows what pyplot has made, below the cell. The panels are equally wide
    unless their `widths` are given.
    """
    solid = kind == "surface"
    layout: Literal["constrained"] | None = None if solid else "constrained"
    if shown:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=size, layout=layout)
    else:
        figure = Figure(figsize=size, layout=layout)
        FigureCanvasAgg(figure)
    axes = figure.subplots(
        1, panels, squeeze=False, width_ratios=widths, subplot_kw={"projection": "3d"} if solid else None
    )
    if solid:
        # A 3D drawing leaves the margins of its axes empty, and no layout engine knows.
        left, right = -0.05 / panels, 1.0 - 0.06 / panels
        figure.subplots_adjust(left=left, right=right, bottom=-0.07, top=1.0, wspace=0.0)
    return figure, list(axes[0])


def settle(figure: Figure) -> None:
    """Let the layout engine place the axes, for good: every further draw would move them a little."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _draw(kind: str, surface: Surface, ax: Axes | None, options: LookOptions) -> Axes:
    own_look: dict[str, Any] = {**options}
    style = own_look.pop("style", None)
    look = styled(Look(**own_look), style, kind)
    own = ax is None
    if ax is None:
        width, height = matplotlib.rcParams["figure.figsize"]
        _, (ax,) = figure_of(kind, 1, (width, height), shown=in_notebook())
    check_axes(kind, ax)
    titles = None if look.title is None else [look.title]
    scale = draw_panels(kind, [ax], [surface], look, titles, own_figure=own)
    root: Any = ax.figure.canvas.figure  # `ax.figure` may be a subfigure
    if kind in ("contour", "trajectory") and root.get_layout_engine() is not None:
        root.draw_without_rendering()  # only that moves the axes to where the labels will find them
    finish(kind, [ax], scale)
    return ax
