"""Saves movies of scenes: a turntable or a fly-in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsweep.errors import InputError, nearest
from lsweep.render.look import Look
from lsweep.render.scene import encode
from lsweep.render.scene.camera import MOTIONS
from lsweep.render.scene.show import Show, Size
from lsweep.surface import Surface
from lsweep.tools.progress import Progress, Silent

MOST_FRAMES = 20_000


@dataclass(frozen=True)
class Film:
    """How a movie goes.

    Attributes:
        motion: "turntable" (once around; it can be shown in a loop) or "fly-in" (from above down to a picture's view).
        seconds: how long it lasts.
        fps: frames per second.
        background: "white" or "black".

    Raises:
        InputError: it makes no sense.
    """

    motion: str = "turntable"
    seconds: float = 5.0
    fps: float = 30.0
    background: str = "white"

    def __post_init__(self) -> None:
        if self.motion not in MOTIONS:
            raise InputError(f"unknown motion {self.motion!r}{nearest(self.motion, MOTIONS)}", key="motion")
        if self.background not in ("white", "black"):
            raise InputError(
                f"the background of a movie is white or black, got {self.background!r}", key="background"
            )
        for key in ("seconds", "fps"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{key} must be a number above 0, got {value}", key=key)
        if not 2 <= self.frames <= MOST_FRAMES:
            raise InputError(
                f"{self.seconds:g} s at {self.fps:g} frames per second are {self.frames} frames, expected 2 to"
                f" {MOST_FRAMES}",
                key="seconds",
            )

    @property
    def frames(self) -> int:
        """How many there are."""
        return round(min(self.seconds * self.fps, 1e9))


def save_movie(
    surfaces: Surface | Sequence[Surface],
    path: str | Path,
    look: Look | None = None,
    *,
    film: Film | None = None,
    titles: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Film planes side by side, on one scale, as lit surfaces.

    Args:
        surfaces: left to right.
        path: where to; a name that ends in .mp4 or .gif. Folders are made; the file appears whole or not at all.
        look: as for figures; None is the default.
        film: motion, length, background; None is the default, with 20 frames per second in a GIF.
        titles: one per surface; None takes the networks' names.
        size: width and height in pixels, even for an MP4; by default 1280 × 720, and 640 × 360 for a GIF.
        progress: told of every frame.

    Returns:
        The path.

    Raises:
        InputError: nothing can be filmed like that, or the file cannot be written.
        MissingExtra: PyVista, imageio-ffmpeg (for .mp4) or Pillow (for .gif) is absent.
    """
    path = Path(path)
    form = encode.format_of(path)
    film = film or Film(fps=form.fps)
    whole = Size(*(size or form.size))
    form.check(whole.width, whole.height)
    if film.fps > form.most_fps:
        raise InputError(
            f"{path.suffix} shows at most {form.most_fps:g} frames per second, got {film.fps:g}", key="fps"
        )
    several = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    if not several:
        raise InputError("nothing to film: no surface was given", key="surfaces")
    show = Show(several, look or Look(), titles, whole, background=film.background)
    progress = progress or Silent()
    progress.start(film.frames, 0)
    try:
        form.write(path, _frames(show, film, progress), (whole.width, whole.height), film.fps)
    finally:
        progress.stop()
        show.close()
    return path


def _frames(show: Show, film: Film, progress: Progress) -> Iterator[np.ndarray]:
    """(height, width, 3) uint8, each. A turntable's last frame is one step before its first, a fly-in's at its end."""
    motion = MOTIONS[film.motion]
    start = show.view(motion)
    last = film.frames if film.motion == "turntable" else film.frames - 1
    for k in range(film.frames):
        yield np.ascontiguousarray(show.frame(motion(start, k / last))[..., :3])
        progress.advance(1)
