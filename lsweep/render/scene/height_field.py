"""Height field of a scene: positions in the drawn box, levels and colours. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsweep.render.field import Field
from lsweep.render.scale import Scale
from lsweep.render.scene.draping import FINEST, along, cut, sampled
from lsweep.render.scene.occlusion import visibility
from lsweep.render.scene.smooth import refined, subdivided

HALF = 1.0  # the longer side of the plane extends from -HALF to HALF
HEIGHT = 1.15  # height of the whole scale, in the same units
FLOOR = -0.16  # below the box, so that the deepest minimum does not touch it
RIM = 0.07  # width of the floor around the plane
FACETS = 240  # approximate maximum number of facets along a side, to which cells are subdivided
DARKEST = 0.45  # brightness of a point from which no sky is visible


@dataclass(frozen=True)
class Relief:
    """A plane as a height field in the drawn box, whose floor is z = 0.

    Attributes:
        x: (n,) increasing.
        y: (m,) increasing.
        height: (m, n), in [0, HEIGHT]; NaN where there is no surface.
        colors: (m, n, 3) in [0, 1], darker where less of the sky is visible.
        ends: the coordinates α and β of the plane's edges: ((left, right), (front, back)).
    """

    x: np.ndarray
    y: np.ndarray
    height: np.ndarray
    colors: np.ndarray
    ends: tuple[tuple[float, float], tuple[float, float]]

    def place(self, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """Map points of the plane onto the relief: (k,) and (k,) to (k, 3); z is NaN off the surface."""
        sides = zip((self.x, self.y), self.ends, (alpha, beta), strict=True)
        x, y = (
            side[0] + (np.asarray(at) - low) / (high - low) * (side[-1] - side[0])
            for side, (low, high), at in sides
        )
        return np.stack([x, y, sampled(self.x, self.y, self.height, x, y)], axis=-1)


def build(field: Field, scale: Scale, facets: int = FACETS) -> Relief:
    """The relief of a plane; on a log scale, colours and heights follow log10 of the values.

    For an incomplete sweep pass the coarser grid of `Field.thinned`.
    """
    low, high = scale.linear(np.array([scale.vmin, scale.vmax]))
    drawn = scale.linear(np.clip(scale.drawn(field.values), scale.vmin, scale.vmax))
    parts = max(1, min(facets, FACETS) // max(drawn.shape))
    level = refined((drawn - low) / (high - low), parts)
    x, y = (subdivided(axis, parts) for axis in box(field.axes))
    colors = np.asarray(scale.cmap(np.nan_to_num(level)))[..., :3]
    height = level * HEIGHT
    if not np.isnan(height).all():
        sky = visibility(height, (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1))
        colors = colors * (DARKEST + (1 - DARKEST) * sky[..., None])
    alpha, beta = ((float(axis[0]), float(axis[-1])) for axis in field.axes)
    return Relief(x, y, height, colors, (alpha, beta))


def draped(relief: Relief, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """A path on the plane draped over the relief: (k,) and (k,) to (n, 3) with n ≥ k; z is NaN off the surface.

    The segments between checkpoints are subdivided finely, so that the path follows the surface.
    """
    corners = relief.place(alpha, beta)[:, :2]
    x, y = along(corners, cut(corners, 2 * HALF / FINEST)).T
    return np.stack([x, y, sampled(relief.x, relief.y, relief.height, x, y)], axis=-1)


def box(axes: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Coordinates in the drawn box, with equal units unless the plane would get too thin."""
    widths = [float(axis[-1]) - float(axis[0]) for axis in axes]
    ratio = widths[1] / widths[0]
    longest = max(widths) if 1 / 3 <= ratio <= 3 else None
    halves = [HALF * (width / longest if longest else 1.0) for width in widths]
    # Divide first, because the width of an axis may be tiny or huge.
    return [
        ((axis - axis[0]) / width * 2 - 1) * half
        for axis, width, half in zip(axes, widths, halves, strict=True)
    ]
