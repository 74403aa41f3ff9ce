"""Panels of a figure, drawn on a common scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from lsweep.errors import InputError
from lsweep.render import curves, frame, paths, planes, surface_plots
from lsweep.render.field import Field, extract
from lsweep.render.look import Look
from lsweep.render.scale import Scale, choose
from lsweep.surface import Surface

DRAW: dict[str, Callable[[Axes, Field, Scale], object]] = {
    "contour": planes.draw_contour,
    "filled": planes.draw_filled,
    "heatmap": planes.draw_heatmap,
    "surface": surface_plots.draw_surface,
    "trajectory": planes.draw_contour,
}
BARS = ("filled", "heatmap")  # the kinds with a colour bar by default


def draw_panels(
    kind: str,
    axes: Sequence[Axes],
    surfaces: Sequence[Surface],
    look: Look,
    titles: Sequence[str] | None = None,
    *,
    own_figure: bool,
) -> Scale:
    """Draw one surface per axes, on a common scale.

    Args:
        kind: one of `look.KINDS` except "auto".
        axes: one per surface, all of the same figure.
        titles: one per surface; None takes them from the surfaces.
        own_figure: whether lsweep created the figure and may put a legend next to the panels.

    Returns:
        The scale, for `finish`, which must be called when the layout is final.

    Raises:
        InputError: a surface cannot be drawn with these options, or matplotlib cannot typeset a title.
    """
    for title in titles or ():
        frame.check_title(title)
    if kind == "line":
        return _draw_lines(axes, surfaces, look, titles, own_figure)
    scale = _draw_planes(kind, axes, surfaces, look, titles)
    if kind == "trajectory":
        _draw_paths(axes, surfaces, look, own_figure)
    return scale


def finish(kind: str, axes: Sequence[Axes], scale: Scale) -> None:
    """Add the labels of contour lines, whose positions depend on the final layout in pixels."""
    if kind in ("contour", "trajectory"):
        for ax in axes:
            planes.label_contours(ax, scale)


def _draw_lines(
    axes: Sequence[Axes], surfaces: Sequence[Surface], look: Look, titles: Sequence[str] | None, own: bool
) -> Scale:
    families = [curves.curves(surface, look) for surface in surfaces]
    scale = choose([field for family in families for field in family.left], look)
    legend: dict[str, Any] = {}
    for k, (ax, surface, family) in enumerate(zip(axes, surfaces, families, strict=True)):
        handles = curves.draw_line(ax, surface, family, scale, dots=look.show_evaluated)
        legend |= {str(handle.get_label()): handle for handle in handles}
        _heading(ax, family.left[0].thinned(), scale, titles[k] if titles else None)
    if len(legend) > 1:
        _legend(axes[0].figure, list(legend.values()), own)
    return scale


def _legend(figure: Any, handles: list[Any], own: bool) -> None:
    if own:
        columns = len(handles) if figure.get_figwidth() > 1.3 * len(handles) else 2
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    else:
        # On the topmost axes of the panel; otherwise the accuracy curve would cross it.
        top = next(handle.axes for handle in reversed(handles) if handle.axes is not None)
        top.legend(handles=handles, loc="best", framealpha=0.9)


def _draw_planes(
    kind: str, axes: Sequence[Axes], surfaces: Sequence[Surface], look: Look, titles: Sequence[str] | None
) -> Scale:
    if look.show_evaluated and kind == "surface":
        raise InputError(
            "evaluated points can be shown only in flat figures and line plots; omit show_evaluated",
            key="show_evaluated",
        )
    fields = [extract(surface, look.metric, 2, look.index) for surface in surfaces]
    scale = choose(fields, look)
    for k, (ax, field) in enumerate(zip(axes, fields, strict=True)):
        shown = field if kind == "heatmap" else field.thinned()
        DRAW[kind](ax, shown, scale)
        if look.show_evaluated:
            planes.mark_evaluated(ax, shown)
        _heading(ax, shown, scale, titles[k] if titles else None, grey=kind != "surface")
    if kind != "surface" and (kind in BARS if look.colorbar is None else look.colorbar):
        name = frame.name_of(look.metric, scale.percent)
        planes.colorbar(axes[-1], name, scale, banded=kind == "filled")
    return scale


def _draw_paths(axes: Sequence[Axes], surfaces: Sequence[Surface], look: Look, own: bool) -> None:
    legend: dict[str, Any] = {}
    for ax, surface in zip(axes, surfaces, strict=True):
        field = extract(surface, look.metric, 2, look.index)
        legend |= {str(handle.get_label()): handle for handle in paths.draw_path(ax, surface, field)}
    _legend(axes[0].figure, list(legend.values()), own)


def _heading(ax: Axes, field: Field, scale: Scale, title: str | None, *, grey: bool = False) -> None:
    notes = frame.remarks(field, scale, nan_grey=grey)
    frame.heading(ax, field.title if title is None else title, notes)


def check_axes(kind: str, ax: Axes) -> None:
    """Raise InputError for a 3D drawing on flat axes, or a flat drawing on 3D axes."""
    solid = ax.name == "3d"
    if solid != (kind == "surface"):
        raise InputError(
            f"{kind} needs axes {'with' if kind == 'surface' else 'without'} projection='3d'", key="ax"
        )
