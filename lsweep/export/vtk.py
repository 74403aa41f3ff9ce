"""`write`: a surface into a VTK file."""

from __future__ import annotations

from pathlib import Path

from lsweep.errors import InputError, MissingExtra
from lsweep.export.heights import Height
from lsweep.files import write_bytes
from lsweep.surface import Surface

SUFFIXES = (".vts", ".vtp", ".vti")


def write(
    surface: Surface,
    path: str | Path,
    *,
    metric: str = "loss",
    log: bool = False,
    clip: float | None = None,
    scale: float | str | None = None,
) -> Path:
    """Write a surface as `.vts` (structured grid), `.vtp` (polygons or polyline) or `.vti` (image data).

    In `.vts` and `.vtp` a line or plane becomes a relief: points at (α, β, height), α fastest. Point data of
    all three: every metric, `log_loss` (log10), and `status`; NaN where a point is not done. Points without a
    value lie at the lowest height; `.vts` blanks them and `.vtp` leaves out the cells that touch them. `.vti`
    is flat and holds boxes too, where `log`, `clip` and `scale` have nothing to act on.

    Args:
        surface: what to write.
        path: where to; the suffix says the format. Folders are made; the file appears whole or not at all.
        metric: the height, and the active scalars: "loss", "accuracy", "loss_test", …
        log: take log10 of the metric as height.
        clip: heights of values above are those of this value (before the log).
        scale: factor on the height; "auto" makes the relief half as high as the plane is wide; None is 1.

    Returns:
        The path.

    Raises:
        InputError: unknown suffix or metric, a box as `.vts` or `.vtp`, or a file that cannot be written.
        MissingExtra: VTK is not installed.
    """
    path = Path(path)
    suffix = check_suffix(path, surface.ndim)
    how = Height(metric, log, clip, scale)
    try:
        from lsweep.export import grids, xml
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("vtk"):
            raise
        raise MissingExtra("export needs VTK, which is not installed: pip install vtk", key="vtk") from error
    build = {".vts": grids.structured, ".vtp": grids.polygons, ".vti": grids.image}[suffix]
    write_bytes(path, xml.encode(build(surface, how), suffix))
    return path


def check_suffix(path: Path, ndim: int) -> str:
    """The format that a path's suffix names, if a surface of `ndim` axes fits it. Raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"cannot export to {path}: expected a name that ends in one of {', '.join(SUFFIXES)}",
            key="output",
        )
    if ndim == 3 and suffix != ".vti":
        raise InputError(f"a box of three axes has no height to draw as {suffix}; use .vti", key="output")
    return suffix
