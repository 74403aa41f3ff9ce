"""Renders surfaces side by side as frames of one scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lsweep.errors import InputError, nearest
from lsweep.render import frame
from lsweep.render.field import Field, extract, literal, network_names
from lsweep.render.look import Look
from lsweep.render.paths import COLORS
from lsweep.render.scale import choose
from lsweep.render.scene import opengl
from lsweep.render.scene.camera import Motion, View, framed, still
from lsweep.render.scene.height_field import FLOOR, RIM, Relief, build, draped
from lsweep.render.scene.labels import EdgeLetters, bar_width, layer
from lsweep.surface import Surface

WHITE, BLACK, NOTHING = (255, 255, 255, 255), (14, 16, 20, 255), (0, 0, 0, 0)
# Background colour and text colour.
BACKGROUNDS = {"white": (WHITE, "#1d1f23"), "black": (BLACK, "#e8eaee"), "transparent": (NOTHING, "#1d1f23")}
AZIMUTH, ELEVATION = -62.0, 33.0
MARGIN = 0.03  # margin in units of half a panel's size, at the closest view of a movie
LEVELS = 14  # more contour lines than in a flat figure, where each has a label
TOP = 0.1  # share of the picture's height for the titles
LEAST, MOST = 64, 16_384  # pixels along a side
NARROWEST = 16  # minimum width of a panel in pixels
PIXELS = 4  # approximate size of a facet in pixels
SAMPLES = 4  # multisampling; more is slow with software OpenGL


@dataclass(frozen=True)
class Size:
    """Width and height of a picture in pixels. Raises InputError."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if not all(LEAST <= side <= MOST for side in (self.width, self.height)):
            raise InputError(
                f"size must be {LEAST} to {MOST} pixels along each side, got {self.width}x{self.height}",
                key="size",
            )


class Show:
    """Renders planes on a common scale from any view.

    Args:
        surfaces: the surfaces, left to right.
        look: as for figures.
        titles: one per surface; None uses the networks' names.
        size: size of the whole picture.
        background: "white", "black" or "transparent".
        oversample: factor by which frames are drawn larger along each side and then reduced; with 1, edges are
            multisampled instead, which is faster.

    Raises:
        InputError: the surfaces cannot be drawn with these options.
        MissingExtra: PyVista is not installed.
    """

    def __init__(
        self,
        surfaces: Sequence[Surface],
        look: Look,
        titles: Sequence[str] | None,
        size: Size,
        *,
        background: str = "white",
        oversample: int = 1,
    ) -> None:
        if background not in BACKGROUNDS:
            raise InputError(
                f"unknown background {background!r}{nearest(background, BACKGROUNDS)}", key="background"
            )
        if titles is not None and len(titles) != len(surfaces):
            raise InputError(
                f"expected one title for each of the {len(surfaces)} surfaces, got {len(titles)}", key="title"
            )
        if look.show_evaluated:
            raise InputError(
                "evaluated points can be shown only in flat figures and line plots; omit show_evaluated",
                key="show_evaluated",
            )
        self.size = size
        self._wide = (size.width - bar_width(size.height)) // len(surfaces)
        if self._wide < NARROWEST:
            raise InputError(
                f"{size.width}x{size.height} pixels are too few for {len(surfaces)} panels and a colour bar; use more",
                key="size",
            )
        opengl.require()
        from lsweep.render.scene.plotter import Stage

        look = replace(look, levels=LEVELS) if look.levels is None else look
        fields = [extract(surface, look.metric, 2, look.index).thinned() for surface in surfaces]
        scale = choose(fields, look)
        captions = [
            (title, frame.remarks(field, scale))
            for title, field in zip(titles or map(literal, network_names(surfaces)), fields, strict=True)
        ]
        for title, _ in captions:
            frame.check_title(title)
        self._behind, ink = BACKGROUNDS[background]
        self._oversample = oversample
        self._top = round(size.height * TOP)
        self._reliefs = [build(field, scale, oversample * self._wide // PIXELS) for field in fields]
        self._layer = layer(
            (size.width, size.height), captions, scale, frame.name_of(look.metric, scale.percent), ink
        )
        self._letters = [EdgeLetters(field, size.height, ink) for field in fields]
        low, high = scale.linear(np.array([scale.vmin, scale.vmax]))
        self._stages = [
            Stage(
                relief,
                (scale.linear(scale.levels) - low) / (high - low),
                scale.cmap,
                _paths(surface, field, relief),
                (oversample * self._wide, oversample * (size.height - self._top)),
                dark=background == "black",
                samples=SAMPLES if oversample == 1 else 0,
            )
            for surface, field, relief in zip(surfaces, fields, self._reliefs, strict=True)
        ]

    def view(self, motion: Motion = still) -> View:
        """The view of a picture or the first view of a movie; all is visible and centred during the whole motion."""
        seen = np.concatenate([_outline(relief) for relief in self._reliefs])
        aspect = self._wide / (self.size.height - self._top)
        return framed(View(AZIMUTH, ELEVATION, 1.0, (0.0, 0.0, 0.0)), motion, seen, aspect, MARGIN)

    def frame(self, view: View) -> np.ndarray:
        """The scene from a view: (height, width, 4) uint8, colours premultiplied by alpha."""
        picture = np.empty((self.size.height, self.size.width, 4), dtype=np.uint8)
        picture[:] = self._behind
        for k, (stage, relief) in enumerate(zip(self._stages, self._reliefs, strict=True)):
            panel = shrunk(stage.frame(view), self._oversample)
            over(picture, panel, k * self._wide, self._top)
            for letters, (x, y) in self._letters[k].placed(relief, view, panel.shape[1], panel.shape[0]):
                over(picture, letters, k * self._wide + x, self._top + y)
        over(picture, self._layer)
        return picture

    def close(self) -> None:
        """Close the windows."""
        for stage in self._stages:
            stage.close()


def _outline(relief: Relief) -> np.ndarray:
    """Points that must be visible, (n, 3): the floor with its labels, and about a thousand points of the surface."""
    x, y = relief.x[-1] + 2.5 * RIM, relief.y[-1] + 2.5 * RIM
    floor = np.array([(sx * x, sy * y, FLOOR) for sx in (-1, 1) for sy in (-1, 1)])
    thin = [slice(None, None, 1 + n // 40) for n in relief.height.shape]
    # The ends of the axes are always included, because of the corners.
    rows, columns = (
        np.unique(np.append(np.arange(n)[part], n - 1))
        for n, part in zip(relief.height.shape, thin, strict=True)
    )
    grid = np.meshgrid(relief.x[columns], relief.y[rows])
    points = np.stack([*grid, relief.height[np.ix_(rows, columns)]], axis=-1).reshape(-1, 3)
    return np.concatenate([floor, points[~np.isnan(points[:, 2])]])


def _paths(surface: Surface, field: Field, relief: Relief) -> list[tuple[np.ndarray, str]]:
    """The training paths on the relief, each with a colour; empty without a trajectory."""
    path = surface.trajectory
    if path is None:
        return []
    columns = ["xyz".index(name) for name in field.names]
    found = []
    for index in range(len(path.names)):
        x, y = path.coordinates[path.trails == index][:, columns].T
        found.append((draped(relief, x, y), COLORS[index % len(COLORS)]))
    return found


def over(below: np.ndarray, above: np.ndarray, left: int = 0, top: int = 0) -> None:
    """Composite `above` over `below`, both premultiplied RGBA, in place; `above` starts at (left, top), cropped."""
    rows, columns = slice(max(top, 0), top + above.shape[0]), slice(max(left, 0), left + above.shape[1])
    target = below[rows, columns]
    if not target.size:
        return
    part = above[max(-top, 0) :, max(-left, 0) :][: target.shape[0], : target.shape[1]]
    here = np.flatnonzero(part[..., 3].any(axis=1))
    if not len(here):
        return
    band = slice(here[0], here[-1] + 1)  # most of a text layer is empty
    kept = target[band] * (255 - part[band][..., 3:].astype(np.uint16)) // 255
    target[band] = np.minimum(kept + part[band], 255)


def shrunk(picture: np.ndarray, by: int) -> np.ndarray:
    """The picture reduced by averaging squares of by² pixels."""
    rows, columns = picture.shape[0] // by, picture.shape[1] // by
    return np.rint(picture.reshape(rows, by, columns, by, 4).mean(axis=(1, 3))).astype(np.uint8)


def unmultiplied(picture: np.ndarray) -> np.ndarray:
    """Straight (not premultiplied) colours, as in PNG."""
    alpha = picture[..., 3:].astype(np.float32)
    straight = picture.copy()
    straight[..., :3] = np.rint(np.clip(picture[..., :3] * (255 / np.maximum(alpha, 1)), 0, 255))
    return straight
