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
PATH = "_path.vtp"  # ending of the file name of a training path


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
    """Write a surface in the format given by the suffix of the path.

    `.vts` (structured grid), `.vtp` (polygons or polyline) and `.vti` (image data) are VTK formats. In the first two, a
    line or plane becomes a relief with points at (α, β, height), α fastest. All three have as point data every metric,
    `log_loss` (log10) and `status`, with NaN where a point is not done. Points without a value get the lowest height;
    `.vts` blanks them, and `.vtp` leaves out the cells that touch them. `.vti` is flat, also holds boxes, and ignores
    `log`, `clip` and `scale`.
    `.glb`: glTF 2.0, the relief of a plane with normals and colours, and the training path.
    `.xdmf`, `.xmf`: a sidecar with which other programs open the HDF5 file that the surface was read from, see `xdmf`.
    `.py`: a script for ParaView, with the files that it opens: `STEM_data.xdmf` and the path, `STEM_data.vtp`.

    Args:
        surface: the surface to write.
        path: the output file. Folders are created; each file is written atomically.
        metric: the metric for the height and the active scalars: "loss", "accuracy", "loss_test", …
        log: use log10 of the metric as height; None means no, but in `.glb` and `.py` the choice of figures.
        clip: larger values get the height of this value (before the log).
        scale: factor on the height; "auto" makes the relief half as high as the plane is wide; None means 1, but
            "auto" in `.glb` and `.py`.
        cmap: matplotlib colour map for `.glb` and `.py`.

    Returns:
        The path.

    Raises:
        InputError: the suffix or metric is unknown, the format cannot hold the surface, or the file cannot be written.
        MissingExtra: VTK is not installed.
    """
    path = Path(path)
    suffix = check_suffix(path, surface)
    how = Height(metric, bool(log), clip, scale)
    if suffix in VTK:
        grids = _vtk()
        build = {".vts": grids.structured, ".vtp": grids.polygons, ".vti": grids.image}[suffix]
        write_bytes(path, grids.encode(build(surface, how), suffix))
    elif suffix in XDMF:
        from lsweep.export import xdmf

        write_bytes(path, xdmf.encode(surface, how, path))
    else:
        from lsweep.export import coloured

        make = coloured.write_glb if suffix == ".glb" else coloured.write_script
        make(surface, path, replace(how, scale="auto" if scale is None else scale), log, cmap)
    return path


def write_path(surface: Surface, path: Path, how: Height) -> Path:
    """Write the training paths as polylines on the relief, `.vtp`. Raises InputError and MissingExtra."""
    grids = _vtk()
    write_bytes(path, grids.encode(grids.path(surface, how), ".vtp"))
    return path


def check_suffix(path: Path, surface: Surface) -> str:
    """The suffix of the path, if the surface fits its format. Raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"cannot export to {path}: expected one of the suffixes {', '.join(SUFFIXES)}", key="output"
        )
    if surface.ndim == 3 and suffix in (".vts", ".vtp"):
        raise InputError(f"{suffix} needs a line or plane, got a box of three axes; use .vti", key="output")
    if suffix in (".glb", ".py") and (surface.ndim != 2 or min(surface.shape) < 2):
        raise InputError(f"{suffix} is for planes; export this sweep as .vti or .xdmf", key="output")
    return suffix


def _vtk() -> Any:
    """The module that needs VTK. Raises MissingExtra."""
    try:
        from lsweep.export import grids
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("vtk"):
            raise
        raise MissingExtra("export needs VTK, which is not installed: pip install vtk", key="vtk") from error
    return grids
