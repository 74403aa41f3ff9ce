"""Encodes frames as MP4 (H.264, by imageio-ffmpeg) or GIF (by Pillow)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsweep.errors import InputError, MissingExtra
from lsweep.tools.files import writing

Frames = Iterable[np.ndarray]
# Near what the eye can tell from the frames themselves; "faststart" lets a browser begin before it has all.
H264 = ["-f", "mp4", "-crf", "18", "-preset", "medium", "-movflags", "+faststart", "-fflags", "+bitexact"]
HUNDREDTHS = 100  # GIF counts time in these


@dataclass(frozen=True)
class Format:
    """A kind of movie file.

    Attributes:
        size, fps: what a movie of this kind has by default.
        most_fps: more frames per second it does not show.
        check: refuses a width and height that the format cannot have.
        write: frames of (height, width, 3) uint8 into a file; the path, the frames, (width, height), fps.
    """

    size: tuple[int, int]
    fps: float
    most_fps: float
    check: Callable[[int, int], None]
    write: Callable[[Path, Frames, tuple[int, int], float], None]


def format_of(path: Path) -> Format:
    """The format that a path's suffix names. Raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        valid = " or ".join(FORMATS)
        raise InputError(f"cannot film into {path}: expected a name that ends in {valid}", key="output")
    return FORMATS[suffix]


def _write_mp4(path: Path, frames: Frames, size: tuple[int, int], fps: float) -> None:
    ffmpeg = _need("imageio_ffmpeg", "MP4 needs imageio-ffmpeg")
    with writing(path) as temporary:
        writer = ffmpeg.write_frames(
            str(temporary),
            size,
            fps=fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            output_params=H264,
        )
        with closing(writer):
            writer.send(None)
            for frame in frames:
                writer.send(frame)
        # Nobody has asked for ffmpeg's exit status: where it had no room, half a movie is there, or nothing.
        try:
            ffmpeg.count_frames_and_secs(str(temporary))
        except RuntimeError as error:
            raise OSError("ffmpeg left no movie that can be played") from error


def _write_gif(path: Path, frames: Frames, size: tuple[int, int], fps: float) -> None:
    image = _need("PIL.Image", "GIF needs Pillow")
    with writing(path) as temporary:  # frames take long: whether there is a place for them is known before
        pictures = [
            image.fromarray(frame).quantize(256, dither=image.Dither.FLOYDSTEINBERG) for frame in frames
        ]
        ends = np.rint(np.arange(len(pictures) + 1) * HUNDREDTHS / fps) * 10
        milliseconds = [int(step) for step in np.diff(ends)]
        pictures[0].save(
            temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0
        )


def _need(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.split(".")[0]):
            raise
        raise MissingExtra(
            f"{what}, which is not installed: pip install '.[movie]' in lsweep's clone", key="movie"
        ) from error


def _even(width: int, height: int) -> None:
    if width % 2 or height % 2:
        raise InputError(f"an MP4's width and height must be even, got {width}x{height}", key="size")


def _any_size(width: int, height: int) -> None:
    """A GIF may be of any."""


FORMATS = {
    ".mp4": Format((1280, 720), 30.0, math.inf, _even, _write_mp4),
    # Viewers take a frame of less than two hundredths of a second for one of ten.
    ".gif": Format((640, 360), 20.0, 50.0, _any_size, _write_gif),
}
