"""Figures of sweeps with matplotlib (lines, contours, heat maps, 3D surfaces), lit scenes, movies, interactive pages.

`save` draws one or several surfaces side by side, on a common scale, into a PNG, PDF or SVG file, `save_page` into an
interactive HTML page, and `save_movie` into an MP4 or GIF. `line`, `contour`, `filled`, `heatmap`, `surface3d` and
`trajectory` draw one surface into an `Axes` and return it, for use in notebooks; without an `Axes` they create a
figure, available as `ax.figure`. Further options are documented in `look.LookOptions`.

Importing this package does not import matplotlib: its names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep.tools.lazy import attach

if TYPE_CHECKING:
    from lsweep.render.axes import contour, filled, heatmap, line, surface3d, trajectory
    from lsweep.render.figure import save
    from lsweep.render.page.assemble import save_page
    from lsweep.render.scene.movie import save_movie

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "axes": "contour filled heatmap line surface3d trajectory",
        "figure": "save",
        "page.assemble": "save_page",
        "scene.movie": "save_movie",
    },
)
