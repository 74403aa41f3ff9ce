"""Encodes frames as MP4 (H.264, with imageio-ffmpeg) or GIF (with Pillow)."""

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
# Visually almost lossless; "faststart" lets a browser start playing before the download is complete.
H264 = ["-f", "mp4", "-crf", "18", "-preset", "medium", "-movflags", "+faststart", "-fflags", "+bitexact"]
HUNDREDTHS = 100  # time units of GIF per second


@dataclass(frozen=True)
class Format:
    """A movie file format.

    Attributes:
        size, fps: the defaults of the format.
        most_fps: the maximum number of frames per second.
        check: raises InputError for a width and height that the format does not support.
        write: writes frames of (height, width, 3) uint8; takes the path, the frames, (width, height) and fps.
    """

    size: tuple[int, int]
    fps: float
    most_fps: float
    check: Callable[[int, int], None]
    write: Callable[[Path, Frames, tuple[int, int], float], None]


def format_of(path: Path) -> Format:
    """The format given by the suffix of a path. Raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        valid = " or ".join(FORMATS)
        raise InputError(
            f"cannot write a movie to {path}: expected a name that ends in {valid}", key="output"
        )
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
        # imageio-ffmpeg ignores the exit status of ffmpeg: if the disk was full, the movie is incomplete or missing.
        try:
            ffmpeg.count_frames_and_secs(str(temporary))
        except RuntimeError as error:
            raise OSError("ffmpeg wrote no playable movie; check the free disk space") from error


def _write_gif(path: Path, frames: Frames, size: tuple[int, int], fps: float) -> None:
    image = _need("PIL.Image", "GIF needs Pillow")
    with writing(
        path
    ) as temporary:  # opened first, because frames take long and the path may not be writable
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
        raise InputError(f"width and height of an MP4 must be even, got {width}x{height}", key="size")


def _any_size(width: int, height: int) -> None:
    """Accept any size, for GIF."""


FORMATS = {
    ".mp4": Format((1280, 720), 30.0, math.inf, _even, _write_mp4),
    # Viewers show a frame of less than two hundredths of a second for ten hundredths.
    ".gif": Format((640, 360), 20.0, 50.0, _any_size, _write_gif),
}
