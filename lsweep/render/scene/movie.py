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
from lsweep.render.scene.frames import Show, Size
from lsweep.surface import Surface
from lsweep.tools.progress import Progress, Silent

MOST_FRAMES = 20_000


@dataclass(frozen=True)
class Film:
    """Settings of a movie.

    Attributes:
        motion: "turntable" (one full rotation, can be looped) or "fly-in" (from above down to the view of a picture).
        seconds: duration.
        fps: frames per second.
        background: "white" or "black".

    Raises:
        InputError: a setting is invalid.
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
                f"the background of a movie must be white or black, got {self.background!r}", key="background"
            )
        for key in ("seconds", "fps"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{key} must be a number above 0, got {value}", key=key)
        if not 2 <= self.frames <= MOST_FRAMES:
            raise InputError(
                f"expected 2 to {MOST_FRAMES} frames, got {self.frames} ({self.seconds:g} s at {self.fps:g} frames per"
                " second); change seconds or fps",
                key="seconds",
            )

    @property
    def frames(self) -> int:
        """Number of frames."""
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
    """Make a movie of planes side by side, on a common scale, as lit surfaces.

    Args:
        surfaces: the surfaces, left to right.
        path: the output file, ending in .mp4 or .gif. Folders are created; the file is written atomically.
        look: as for figures; None for the default.
        film: motion, duration and background; None for the default, with 20 frames per second in a GIF.
        titles: one per surface; None uses the networks' names.
        size: width and height in pixels, both even for an MP4; by default 1280 × 720, and 640 × 360 for a GIF.
        progress: advanced with every frame.

    Returns:
        The path.

    Raises:
        InputError: the surfaces cannot be drawn with these options, or the file cannot be written.
        MissingExtra: PyVista, imageio-ffmpeg (for .mp4) or Pillow (for .gif) is not installed.
    """
    path = Path(path)
    form = encode.format_of(path)
    film = film or Film(fps=form.fps)
    whole = Size(*(size or form.size))
    form.check(whole.width, whole.height)
    if film.fps > form.most_fps:
        raise InputError(
            f"{path.suffix} supports at most {form.most_fps:g} frames per second, got {film.fps:g}", key="fps"
        )
    several = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    if not several:
        raise InputError("nothing to draw; give at least one surface", key="surfaces")
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
    """Frames, (height, width, 3) uint8. A turntable stops one step before its first frame; a fly-in ends at t = 1."""
    motion = MOTIONS[film.motion]
    start = show.view(motion)
    last = film.frames if film.motion == "turntable" else film.frames - 1
    for k in range(film.frames):
        yield np.ascontiguousarray(show.frame(motion(start, k / last))[..., :3])
        progress.advance(1)
