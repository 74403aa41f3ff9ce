"""3D surface plots of a plane with matplotlib."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

from lsweep.render import frame
from lsweep.render.field import Field
from lsweep.render.levels import plain
from lsweep.render.scale import Scale

BOX = (1.0, 1.0, 0.62)  # width, depth and height of the drawn box
LIGHT = np.array([-0.5, -0.35, 0.8])  # from the left, the front and above, in units of the box
AMBIENT = 0.5
FACETS = 150  # approximate number of facets along a side, to which cells are subdivided
ZOOM = 0.92  # leaves room for the labels, which mplot3d does not report to the layout engine
VIEW = {"elev": 32.0, "azim": -58.0}


def draw_surface(ax: Axes, field: Field, scale: Scale) -> None:
    """Draw every cell with four values; on a log scale, heights are log10. `ax` must have projection="3d"."""
    x, y = np.meshgrid(*field.axes)
    heights = scale.linear(np.clip(scale.drawn(field.values), scale.vmin, scale.vmax))
    whole = np.asarray(_cells(np.isfinite(heights)).all(axis=-1))
    corners = np.stack([_cells(a)[whole] for a in (x, y, heights)], axis=-1)
    colors = _cells(_lit(heights, whole, scale))[whole]
    parts = max(1, FACETS // max(heights.shape))
    faces = _subdivide(corners, parts)
    tints = _subdivide(colors, parts).mean(axis=1).clip(0.0, 1.0)
    drawn = Poly3DCollection(
        list(faces), linewidths=0.3, antialiased=False, facecolors=tints, edgecolors=tints
    )
    drawn.set_rasterized(True)
    cast(Any, ax).add_collection3d(drawn)
    _box(ax, field, scale)


def _cells(grid: np.ndarray) -> np.ndarray:
    """The corners of the cells of a (rows, columns, …) grid, in cyclic order: (rows - 1, columns - 1, 4, …)."""
    return np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=2)


def _lit(heights: np.ndarray, whole: np.ndarray, scale: Scale) -> np.ndarray:
    """Colours of the points, (rows, columns, 3), with lighting computed in the proportions of the drawn box.

    matplotlib's shading uses normals in data units, in which a loss of 1e5 over a plane of width 2 consists of walls,
    and one normal per cell, which makes the cells visible.
    """
    low, high = scale.linear(np.array([scale.vmin, scale.vmax]))
    level = (heights - low) / (high - low)
    colors = np.asarray(scale.cmap(np.nan_to_num(level)))[..., :3]
    normals = _normals(level * BOX[2], whole)
    light = np.maximum(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0.0)
    return colors * (AMBIENT + (1 - AMBIENT) * light)[..., None]


def _normals(heights: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Unit normals at the points, (rows, columns, 3): the mean over the complete cells around each."""
    y, x = np.meshgrid(
        *(np.linspace(0, side, n) for side, n in zip(BOX[:2], heights.shape, strict=True)), indexing="ij"
    )
    around = _cells(np.stack([x, y, heights], axis=-1))
    cell = np.cross(around[:, :, 2] - around[:, :, 0], around[:, :, 3] - around[:, :, 1])
    cell[~whole] = 0.0
    total = np.zeros((*heights.shape, 3))
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            total[rows, columns] += cell
    return total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12)


def _subdivide(corners: np.ndarray, parts: int) -> np.ndarray:
    """Cut cells into parts² by bilinear interpolation: (cells, 4, d) to (cells * parts², 4, d).

    The shape of the surface does not change; only its colours become smooth, which mplot3d cannot do.
    """
    u = np.linspace(0.0, 1.0, parts + 1)
    across, up = u[None, :, None], u[:, None, None]
    a, b, c, d = (corners[:, k, None, None] for k in range(4))
    points = (1 - up) * ((1 - across) * a + across * b) + up * ((1 - across) * d + across * c)
    inner = np.moveaxis(points, 0, 2)  # (parts + 1, parts + 1, cells, d)
    return np.moveaxis(_cells(inner), 2, 3).reshape(-1, 4, corners.shape[-1])


def _box(ax: Any, field: Field, scale: Scale) -> None:
    """Set limits, labels, ticks and the view."""
    x, y = field.axes
    low, high = scale.linear(np.array([scale.vmin, scale.vmax]))
    ax.set_xlim(float(x[0]), float(x[-1]))
    ax.set_ylim(float(y[0]), float(y[-1]))
    ax.set_zlim(float(low), float(high))
    ax.set_box_aspect(BOX, zoom=ZOOM)
    ax.view_init(**VIEW)
    ax.set_xlabel(frame.AXIS_LABELS[field.names[0]].split()[0])
    ax.set_ylabel(frame.AXIS_LABELS[field.names[1]].split()[0])
    ax.set_zlabel(frame.name_of(field.metric, field.percent))
    # The two axes meet in the front corner, where their labels would overlap.
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], prune="upper"))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], prune="lower"))
    ax.tick_params(pad=0)
    ax.tick_params(axis="z", pad=-3)
    ax.xaxis.labelpad = ax.yaxis.labelpad = -1
    ax.zaxis.labelpad = 5
    marks = scale.ticks(6)
    ax.set_zticks(scale.linear(marks), [plain(mark) for mark in marks], ha="left")
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color((1.0, 1.0, 1.0, 0.0))
        axis._axinfo["grid"].update({"color": (0.85, 0.85, 0.85), "linewidth": 0.5})
