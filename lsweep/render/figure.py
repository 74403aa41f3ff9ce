"""Saves surfaces as a figure file, with panels of fitting sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from lsweep.errors import InputError
from lsweep.render import frame, output
from lsweep.render.axes import figure_of, settle
from lsweep.render.field import literal, network_names, wide_axes
from lsweep.render.look import Levels, Log, Look, check_kind
from lsweep.render.panels import draw_panels, finish
from lsweep.render.styles import styled
from lsweep.surface import Surface
from lsweep.tools.files import write_bytes

MOST_PIXELS = 30_000  # per side; Agg fails beyond this
PANEL_WIDTHS = {1: 4.6, 2: 3.7}  # inches, by number of panels; for more see NARROW
NARROW = 3.2
LEAST, MOST = 0.75, 1.6  # bounds on a panel's width relative to the mean, to leave room for all titles


def save(
    surfaces: Surface | Sequence[Surface],
    path: str | Path,
    *,
    kind: str = "auto",
    metric: str = "loss",
    log: Log = "auto",
    clip: float | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    levels: Levels = None,
    cmap: str | None = None,
    titles: Sequence[str] | None = None,
    index: int | None = None,
    colorbar: bool | None = None,
    show_evaluated: bool = False,
    dpi: float = 300.0,
    width: float | None = None,
    background: str | None = None,
    style: str | None = None,
) -> Path:
    """Draw one or several surfaces side by side, on a common scale, into a PNG, PDF or SVG file.

    Args:
        surfaces: the surfaces, left to right; all lines or all planes.
        path: the output file; its suffix gives the format. Folders are created; the file is written atomically.
        kind: "contour", "filled", "heatmap", "surface" (3D), "line" or "trajectory" (contours and the training path);
            "auto" draws lines as "line", planes and the middle slice of boxes as "contour"; "curvature" is a heat map
            (or line) of |λmin/λmax|; "scene" is a lit surface with contour lines and the training path, a PNG made
            with PyVista.
        metric, log, clip, vmin, vmax, levels, cmap, index, colorbar, show_evaluated: see `look.LookOptions`.
        titles: one per surface; by default the networks' names.
        dpi: pixels per inch of a PNG, and of rasterised parts of PDF and SVG.
        width: width of the whole figure in inches.
        background: background of a scene: "white" (the default), "black" or "transparent".
        style: "li2018" for the colours and levels of the figures of [Li18], for options that are not set.

    Returns:
        The path.

    Raises:
        InputError: the surfaces cannot be drawn with these options, or the file cannot be written.
    """
    path = Path(path)
    several = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    kind, metric = _curvature(resolve_kind(kind, several), metric, several)
    look = Look(metric, log, clip, vmin, vmax, levels, cmap, index, None, colorbar, show_evaluated)
    look = styled(look, style, kind)
    if titles is not None and len(titles) != len(several):
        raise InputError(
            f"expected one title for each of the {len(several)} surfaces, got {len(titles)}", key="title"
        )
    size, widths = figure_size(kind, several, width)
    if not (dpi > 0 and max(size) * dpi <= MOST_PIXELS):
        raise InputError(
            f"dpi must be above 0 and at most {MOST_PIXELS / max(size):.0f}, got {dpi}", key="dpi"
        )
    if kind == "scene":
        from lsweep.render.scene.picture import save_scene

        pixels = (round(size[0] * dpi), round(size[1] * dpi))
        return save_scene(several, path, look, titles=titles, size=pixels, background=background or "white")
    if background is not None:
        raise InputError(f"a background can be set only for scenes, got the kind {kind}", key="background")
    fmt = output.format_of(path)
    with matplotlib.rc_context(frame.STYLE):
        figure, axes = figure_of(kind, len(several), size, widths=widths)
        names = titles or [literal(name) for name in network_names(several)]
        scale = draw_panels(kind, axes, several, look, names, own_figure=True)
        settle(figure)
        finish(kind, axes, scale)
        content = output.encode(figure, fmt, dpi)
    write_bytes(path, content)
    return path


def resolve_kind(kind: str, surfaces: Sequence[Surface]) -> str:
    """The kind of figure, with "auto" resolved. Raises InputError if the surfaces cannot share a figure."""
    check_kind(kind)
    if not surfaces:
        raise InputError("nothing to draw; give at least one surface", key="surfaces")
    if kind != "auto":
        return kind
    kinds = {"line" if wide_axes(surface) == 1 else "contour" for surface in surfaces}
    if len(kinds) > 1:
        raise InputError(
            "lines and planes cannot share a figure; set a kind or draw them separately", key="kind"
        )
    return kinds.pop()


def _curvature(kind: str, metric: str, surfaces: Sequence[Surface]) -> tuple[str, str]:
    """Kind and metric, with "curvature" resolved: the map of |λmin/λmax| of [Li18], or of a given other metric."""
    if kind != "curvature":
        return kind, metric
    for surface in surfaces:
        if "eig_ratio" not in surface.metrics:
            raise InputError(
                f"{surface.path.name if surface.path else 'the surface'} has no curvature: sweep with "
                'evaluate.metrics = ["hessian"]',
                key="kind",
            )
    flat = all(wide_axes(surface) == 1 for surface in surfaces)
    return "line" if flat else "heatmap", "eig_ratio" if metric == "loss" else metric


def figure_size(
    kind: str, surfaces: Sequence[Surface], width: float | None
) -> tuple[tuple[float, float], list[float]]:
    """Width and height of a figure in inches, and the widths of its panels relative to their mean.

    Planes are drawn with equal units; those of different proportions get widths that make their heights about equal.
    Raises InputError for an invalid width.
    """
    if width is not None and not 0.5 <= width <= 100:
        raise InputError(f"width must be 0.5 to 100 inches, got {width}", key="width")
    wide = width or PANEL_WIDTHS.get(len(surfaces), NARROW) * len(surfaces)
    panel = wide / len(surfaces)
    alike = [1.0] * len(surfaces)
    if kind == "line":
        return (wide, max(0.72 * panel, 1.5) + 0.3), alike
    if kind == "scene":
        return (wide, 0.78 * panel + 0.2), alike
    if kind == "surface":
        return (wide, 0.74 * panel + 0.12), alike
    ratios = np.array([_ratio(surface) for surface in surfaces])
    widths = np.clip((1 / ratios) / (1 / ratios).mean(), LEAST, MOST)
    widths /= widths.mean()
    return (wide, float((ratios * widths).max()) * 0.9 * panel + 0.45), [float(w) for w in widths]


def _ratio(surface: Surface) -> float:
    """Height by width of a plane drawn with equal units, or of a slightly wide panel if that is too thin."""
    if surface.ndim < 2:
        return 0.8
    x, y = (float(axis[-1]) - float(axis[0]) for axis in (surface.x, surface.y))
    if min(x, y) == 0:
        return 0.8
    ratio = y / x
    return ratio if 1 / 3 <= ratio <= 3 else 0.8
