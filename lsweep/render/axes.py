"""Drawing functions for notebooks: draw a surface into a matplotlib `Axes`."""

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
    """Draw a line plot of all splits: the metric on `ax` and, for a loss, the accuracy in per cent on a twin axis.

    Args:
        surface: a line; of a plane or box, one row is drawn (`index`, by default the one nearest to 0).
        ax: the axes to draw into; None creates a figure.
        options: see `look.LookOptions`.

    Returns:
        The axes of the metric; the twin is in `ax.figure.axes`.

    Raises:
        InputError: the metric is unknown, or an option is invalid.
    """
    return _draw("line", surface, ax, options)


def contour(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw labelled contour lines of a plane, with a mark at the centre.

    Args:
        surface: a plane, (ny, nx); of a box, one slice is drawn (`index`, by default the one nearest to 0).
        ax: the axes to draw into; None creates a figure.
        options: see `look.LookOptions`.

    Returns:
        The axes; the lines are a `matplotlib.contour.ContourSet` in `ax.collections`, unless no level
        occurs in the surface.

    Raises:
        InputError: the surface is not a plane, the metric is unknown, or an option is invalid.
    """
    return _draw("contour", surface, ax, options)


def filled(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw filled contours of a plane with a colour bar. Arguments, returns and errors as for `contour`."""
    return _draw("filled", surface, ax, options)


def heatmap(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw a plane as cells around its points, with a colour bar, without interpolation; pending points are blank.

    Arguments, returns and errors as for `contour`; the cells are `ax.collections[0]`.
    """
    return _draw("heatmap", surface, ax, options)


def surface3d(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw a plane as a lit surface. Arguments, returns and errors as for `contour`; `ax` must be 3D."""
    return _draw("surface", surface, ax, options)


def trajectory(surface: Surface, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Draw contour lines and the training path: a square at the start, a star at the end, rings at learning-rate drops.

    Arguments, returns and errors as for `contour`; the sweep needs `directions.trail`.
    """
    return _draw("trajectory", surface, ax, options)


DRAWERS = {
    function.__name__: function for function in (line, contour, filled, heatmap, surface3d, trajectory)
}


def draw(surface: Surface, kind: str, ax: Axes | None = None, **options: Unpack[LookOptions]) -> Axes:
    """Call the drawing function named `kind`; "surface" is `surface3d`, and a line is always drawn by `line`.

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
    """Create a figure with a row of empty panels; `size` is in inches.

    The figure is not registered with pyplot, and so not with the user's backend, unless `shown` is set: a notebook
    displays the figures of pyplot below the cell. The panels have equal widths unless `widths` is given.
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
        # A 3D drawing leaves the margins of its axes empty, which layout engines do not know.
        left, right = -0.05 / panels, 1.0 - 0.06 / panels
        figure.subplots_adjust(left=left, right=right, bottom=-0.07, top=1.0, wspace=0.0)
    return figure, list(axes[0])


def settle(figure: Figure) -> None:
    """Place the axes with the layout engine once, then disable it: each further draw would move them slightly."""
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
        root.draw_without_rendering()  # moves the axes to their final place before the labels are set
    finish(kind, [ax], scale)
    return ax
