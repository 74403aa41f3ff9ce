"""Renders surfaces side by side as one scene, frame by frame."""

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
from lsweep.render.scene import compose, opengl
from lsweep.render.scene.camera import Motion, View, framed, still
from lsweep.render.scene.letters import EdgeLetters, bar_width, layer
from lsweep.render.scene.relief import FLOOR, RIM, Relief, build, draped
from lsweep.surface import Surface

WHITE, BLACK, NOTHING = (255, 255, 255, 255), (14, 16, 20, 255), (0, 0, 0, 0)
# What lies behind, and the colour of the letters before it.
BACKGROUNDS = {"white": (WHITE, "#1d1f23"), "black": (BLACK, "#e8eaee"), "transparent": (NOTHING, "#1d1f23")}
AZIMUTH, ELEVATION = -62.0, 33.0
MARGIN = 0.03  # of a panel's half size, around what is shown from where a movie comes nearest
LEVELS = 14  # more lines than in a flat figure, where each has a label
TOP = 0.1  # of the picture's height, for the titles
LEAST, MOST = 64, 16_384  # pixels along a side
NARROWEST = 16  # pixels, of a panel
PIXELS = 4  # along a facet, about
SAMPLES = 4  # more cost much where OpenGL is software


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
    """Planes on one scale, ready to be seen from any view.

    Args:
        surfaces: left to right.
        look: as for figures.
        titles: one per surface; None takes the networks' names.
        size: of the whole picture.
        background: "white", "black" or "transparent".
        oversample: how many times larger, along each side, frames are drawn than they come out; with 1 their
            edges are multisampled instead, which is faster.

    Raises:
        InputError: nothing can be shown like that.
        MissingExtra: PyVista is absent.
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
            raise InputError(f"{len(surfaces)} surfaces need as many titles, got {len(titles)}", key="title")
        if look.show_evaluated:
            raise InputError(
                "evaluated points can be shown on flat figures and lines only", key="show_evaluated"
            )
        self.size = size
        self._wide = (size.width - bar_width(size.height)) // len(surfaces)
        if self._wide < NARROWEST:
            raise InputError(
                f"{size.width}x{size.height} pixels leave no room for {len(surfaces)} panels and a colour bar",
                key="size",
            )
        opengl.require()
        from lsweep.render.scene.stage import Stage

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
        """The view of a picture, or from which a movie starts: all is in sight and in the middle, all the way."""
        seen = np.concatenate([_outline(relief) for relief in self._reliefs])
        aspect = self._wide / (self.size.height - self._top)
        return framed(View(AZIMUTH, ELEVATION, 1.0, (0.0, 0.0, 0.0)), motion, seen, aspect, MARGIN)

    def frame(self, view: View) -> np.ndarray:
        """The scene from there: (height, width, 4) uint8, colours multiplied by alpha."""
        picture = np.empty((self.size.height, self.size.width, 4), dtype=np.uint8)
        picture[:] = self._behind
        for k, (stage, relief) in enumerate(zip(self._stages, self._reliefs, strict=True)):
            panel = compose.shrunk(stage.frame(view), self._oversample)
            compose.over(picture, panel, k * self._wide, self._top)
            for letters, (x, y) in self._letters[k].placed(relief, view, panel.shape[1], panel.shape[0]):
                compose.over(picture, letters, k * self._wide + x, self._top + y)
        compose.over(picture, self._layer)
        return picture

    def close(self) -> None:
        """Let go of the windows."""
        for stage in self._stages:
            stage.close()


def _outline(relief: Relief) -> np.ndarray:
    """What must be in sight, (n, 3): the floor with its letters, and the surface's points, some thousand of them."""
    x, y = relief.x[-1] + 2.5 * RIM, relief.y[-1] + 2.5 * RIM
    floor = np.array([(sx * x, sy * y, FLOOR) for sx in (-1, 1) for sy in (-1, 1)])
    thin = [slice(None, None, 1 + n // 40) for n in relief.height.shape]
    # The ends of the axes always, for there the corners are.
    rows, columns = (
        np.unique(np.append(np.arange(n)[part], n - 1))
        for n, part in zip(relief.height.shape, thin, strict=True)
    )
    grid = np.meshgrid(relief.x[columns], relief.y[rows])
    points = np.stack([*grid, relief.height[np.ix_(rows, columns)]], axis=-1).reshape(-1, 3)
    return np.concatenate([floor, points[~np.isnan(points[:, 2])]])


def _paths(surface: Surface, field: Field, relief: Relief) -> list[tuple[np.ndarray, str]]:
    """The training's paths on the relief, and a colour for each; none where the plane cannot hold them."""
    path = surface.trajectory
    if path is None:
        return []
    columns = ["xyz".index(name) for name in field.names]
    found = []
    for index in range(len(path.names)):
        x, y = path.coordinates[path.trails == index][:, columns].T
        found.append((draped(relief, x, y), COLORS[index % len(COLORS)]))
    return found
