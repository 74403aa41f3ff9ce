"""Writes a surface or path to a VTK, XDMF, glTF or ParaView file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lsweep.errors import InputError, MissingExtra
from lsweep.export.heights import Height
from lsweep.surface import Surface
from lsweep.tools.files import write_bytes

VTK = (".vts", ".vtp", ".vti")
XDMF = (".xdmf", ".xmf")
SUFFIXES = (*VTK, ".glb", *XDMF, ".py")
PATH = "_path.vtp"  # what the name of a training's path ends in


def write(
    surface: Surface,
    path: str | Path,
    *,
    metric: str = "loss",
    log: bool | None = None,
    clip: float | None = None,
    scale: float | str | None = None,
    cmap: str | None = None,
) -> Path:
    """Write a surface in the format that the path's suffix says.

    `.vts` (structured grid), `.vtp` (polygons or polyline), `.vti` (image data): VTK's. In the first two a line or
    plane becomes a relief: points at (α, β, height), α fastest. Point data of all three: every metric, `log_loss`
    (log10), and `status`; NaN where a point is not done. Points without a value lie at the lowest height; `.vts`
    blanks them and `.vtp` leaves out the cells that touch them. `.vti` is flat and holds boxes too, where `log`,
    `clip` and `scale` have nothing to act on.
    `.glb`: glTF 2.0, a plane's relief with normals and colours, and the training's path.
    `.xdmf`, `.xmf`: a sidecar through which the file that the surface was read from opens as it is, see `xdmf`.
    `.py`: a script for ParaView, with what it opens beside it: `STEM_data.xdmf` and the path, `STEM_data.vtp`.

    Args:
        surface: what to write.
        path: where to. Folders are made; each file appears whole or not at all.
        metric: the height, and the active scalars: "loss", "accuracy", "loss_test", …
        log: take log10 of the metric as height; None does in `.glb` and `.py` where a figure's scale would be
            logarithmic.
        clip: heights of values above are those of this value (before the log).
        scale: factor on the height; "auto" makes the relief half as high as the plane is wide; None is 1, and
            "auto" in `.glb` and `.py`.
        cmap: the colour map of `.glb` and `.py`, one of matplotlib's.

    Returns:
        The path.

    Raises:
        InputError: unknown suffix or metric, a surface that the format cannot hold, or a file that cannot be written.
        MissingExtra: VTK is not installed.
    """
    path = Path(path)
    suffix = check_suffix(path, surface)
    how = Height(metric, bool(log), clip, scale)
    if suffix in VTK:
        grids, xml = _vtk()
        build = {".vts": grids.structured, ".vtp": grids.polygons, ".vti": grids.image}[suffix]
        write_bytes(path, xml.encode(build(surface, how), suffix))
    elif suffix in XDMF:
        from lsweep.export import xdmf

        write_bytes(path, xdmf.encode(surface, how, path))
    else:
        from lsweep.export import coloured

        make = coloured.write_glb if suffix == ".glb" else coloured.write_script
        make(surface, path, replace(how, scale="auto" if scale is None else scale), log, cmap)
    return path


def write_path(surface: Surface, path: Path, how: Height) -> Path:
    """Write the training's paths as polylines on the relief, `.vtp`. Raises InputError and MissingExtra."""
    grids, xml = _vtk()
    write_bytes(path, xml.encode(grids.path(surface, how), ".vtp"))
    return path


def check_suffix(path: Path, surface: Surface) -> str:
    """The format that a path's suffix names, if the surface fits it. Raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"cannot export to {path}: expected a name that ends in one of {', '.join(SUFFIXES)}",
            key="output",
        )
    if surface.ndim == 3 and suffix in (".vts", ".vtp"):
        raise InputError(f"a box of three axes has no height to draw as {suffix}; use .vti", key="output")
    if suffix in (".glb", ".py") and (surface.ndim != 2 or min(surface.shape) < 2):
        raise InputError(f"{suffix} is for planes; write another sweep as .vti or .xdmf", key="output")
    return suffix


def _vtk() -> tuple[Any, Any]:
    """The modules that need VTK. Raises MissingExtra."""
    try:
        from lsweep.export import grids, xml
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("vtk"):
            raise
        raise MissingExtra("export needs VTK, which is not installed: pip install vtk", key="vtk") from error
    return grids, xml
