"""Camera views of a scene, framing, and the camera motions of movies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

ANGLE = 26.0  # vertical field of view in degrees; small, so that perspective hardly shrinks the far side


@dataclass(frozen=True)
class View:
    """Position of the camera relative to its focus.

    Attributes:
        azimuth, elevation: degrees; at azimuth -90 the camera is in front (y < 0), at elevation 90 above.
        distance: distance from the focus.
        focus: (3,), the point that the camera looks at.
    """

    azimuth: float
    elevation: float
    distance: float
    focus: tuple[float, float, float]

    def axes(self) -> np.ndarray:
        """Unit vectors to the right, up and towards the camera, as rows of a (3, 3) matrix."""
        a, e = np.radians([self.azimuth, self.elevation])
        back = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        right = np.array([-np.sin(a), np.cos(a), 0.0])
        return np.stack([right, np.cross(back, right), back])

    @property
    def eye(self) -> np.ndarray:
        """The position of the camera, (3,)."""
        return np.asarray(self.focus) + self.distance * self.axes()[2]

    def project(self, points: np.ndarray, width: int, height: int) -> np.ndarray:
        """Project points, (k, 3), to pixels, (k, 2), from the upper left corner of a panel."""
        right, up, back = ((np.asarray(points) - self.focus) @ self.axes().T).T
        zoom = height / 2 / np.tan(np.radians(ANGLE) / 2) / (self.distance - back)
        return np.stack([width / 2 + right * zoom, height / 2 - up * zoom], axis=-1)


Motion = Callable[[View, float], View]


def framed(view: View, motion: Motion, points: np.ndarray, aspect: float, margin: float) -> View:
    """The closest view in which all points are visible, with the focus moved along z to centre them.

    Args:
        view: initial view; azimuth and elevation are kept.
        motion: all points stay visible during the whole motion.
        points: (k, 3).
        aspect: width by height of the panel.
        margin: free margin in [0, 1), in units of half the panel's size.
    """
    tangent = np.tan(np.radians(ANGLE) / 2) * (1 - margin)
    for _ in range(12):  # distance and focus depend on each other
        ways = [motion(view, t) for t in np.linspace(0.0, 1.0, 49)]
        seen = [((points - way.focus) @ way.axes().T).T for way in ways]
        needed = [
            (back + np.maximum(np.abs(right) / aspect, np.abs(up)) / tangent).max() / way.distance
            for way, (right, up, back) in zip(ways, seen, strict=True)
        ]
        view = replace(view, distance=view.distance * float(max(needed)))
        heights = np.array(
            [up / (way.distance * max(needed) - back) for way, (_, up, back) in zip(ways, seen, strict=True)]
        )
        middle = (heights.max() + heights.min()) / 2 * view.distance
        x, y, z = view.focus
        view = replace(view, focus=(x, y, z + 0.7 * float(middle)))
    return view


def still(view: View, t: float) -> View:
    """No motion."""
    return view


def turntable(view: View, t: float) -> View:
    """A full rotation; t = 1 equals t = 0."""
    return replace(view, azimuth=view.azimuth + 360.0 * (t % 1.0))


def fly_in(view: View, t: float) -> View:
    """From above, where the surface looks like a map, down to the view itself in a third of a turn."""
    s = t * t * (3 - 2 * t)
    return replace(
        view,
        azimuth=view.azimuth - 120.0 * (1 - s),
        elevation=view.elevation + (88.0 - view.elevation) * (1 - s),
        distance=view.distance * (1.35 - 0.35 * s),
    )


MOTIONS: dict[str, Motion] = {"turntable": turntable, "fly-in": fly_in}
