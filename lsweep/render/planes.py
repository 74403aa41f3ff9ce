"""Flat plots of a plane: contour lines, filled contours, heat map."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap

from lsweep.render import frame, isolines
from lsweep.render.field import Field
from lsweep.render.levels import plain
from lsweep.render.scale import Scale

BAR_GAP, BAR_WIDTH = 0.04, 0.045  # of the panel's width


def draw_contour(ax: Axes, field: Field, scale: Scale) -> None:
    """Draw coloured contour lines; `label_contours` adds their labels when the layout is final."""
    frame.plane(ax, field)
    _grey_nan(ax, field)
    isolines.lines(ax, field, scale, scale.levels, cmap=_on_white(scale.cmap), linewidths=0.9)
    frame.centre(ax, "black")


def label_contours(ax: Axes, scale: Scale) -> None:
    """Label the lines of `draw_contour` with their levels."""
    for drawn in ax.collections:
        if isinstance(drawn, isolines.ContourSet) and not drawn.filled:
            isolines.labels(ax, drawn, lambda value: plain(value, scale.percent), size=6.5)


def draw_filled(ax: Axes, field: Field, scale: Scale) -> None:
    """Draw bands between the levels, and thin lines at the levels."""
    frame.plane(ax, field)
    _grey_nan(ax, field)
    isolines.bands(ax, field, scale, _band_levels(scale), scale.cmap)
    isolines.lines(ax, field, scale, scale.levels, colors="black", linewidths=0.35, alpha=0.6)
    frame.centre(ax, "white")


def draw_heatmap(ax: Axes, field: Field, scale: Scale) -> None:
    """Draw every point as a cell around it, without interpolation; pending points are blank."""
    frame.plane(ax, field)
    x, y = (edges(axis) for axis in field.axes)
    values = np.ma.masked_invalid(scale.drawn(field.values))
    # A mesh of vector cells shows seams in PDF viewers and is large, so it is rasterised.
    ax.pcolormesh(x, y, values, cmap=scale.cmap, norm=scale.norm(), rasterized=True)
    ax.set_xlim(float(x[0]), float(x[-1]))
    ax.set_ylim(float(y[0]), float(y[-1]))
    _grey_nan(ax, field)
    frame.centre(ax, "white")


def mark_evaluated(ax: Axes, field: Field) -> None:
    """Mark each evaluated point with a small dot."""
    rows, columns = np.nonzero(field.evaluated)
    x, y = field.axes
    ax.plot(x[columns], y[rows], ".", color="black", markersize=1.6, markeredgewidth=0, zorder=4)


def colorbar(ax: Axes, name: str, scale: Scale, *, banded: bool = False) -> None:
    """A colour bar with plain numbers to the right of a panel; arrows indicate values beyond its ends."""
    figure: Any = ax.figure
    # A bar in a separate subplot would not shrink with a panel with equal units.
    place = ax.inset_axes((1.0 + BAR_GAP, 0.0, BAR_WIDTH, 1.0))
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}
    beyond = (scale.lo < scale.vmin, scale.hi > scale.vmax)
    bands = {"boundaries": _band_levels(scale)} if banded else {}
    bar = figure.colorbar(
        ScalarMappable(scale.norm(), scale.cmap),
        cax=place,
        label=name,
        extend=extend.get(beyond, "neither"),
        **bands,
    )
    frame.ticks(bar.ax.yaxis, scale, scale.levels if banded and len(scale.levels) else None)
    bar.outline.set_linewidth(0.5)


def edges(axis: np.ndarray) -> np.ndarray:
    """The bounds of the cells around (n,) increasing coordinates, n ≥ 2: (n + 1,)."""
    middle = (axis[:-1] + axis[1:]) / 2
    return np.concatenate([[2 * axis[0] - middle[0]], middle, [2 * axis[-1] - middle[-1]]])


def _band_levels(scale: Scale) -> np.ndarray:
    """The bounds of the bands: the two ends and the levels between them."""
    inner = scale.levels[(scale.vmin < scale.levels) & (scale.levels < scale.vmax)]
    return np.array([scale.vmin, *inner, scale.vmax])


def _grey_nan(ax: Axes, field: Field) -> None:
    """Draw NaN points in grey: a NaN is a result, and must not look like a pending point."""
    if field.nan.any():
        x, y = (edges(axis) for axis in field.axes)
        mask = np.ma.masked_where(~field.nan, np.ones(field.nan.shape))
        ax.pcolormesh(x, y, mask, cmap=ListedColormap([frame.GREY]), zorder=0.5, rasterized=True)


def _on_white(cmap: Colormap) -> Colormap:
    """The colour map without its palest end, where lines are invisible on white."""
    colors: Any = cmap(np.linspace(0.0, 1.0, 256))
    luminance = colors[:, :3] @ np.array([0.2126, 0.7152, 0.0722])
    kept = colors[luminance <= 0.72]
    return LinearSegmentedColormap.from_list("on_white", kept if len(kept) > 1 else colors)
