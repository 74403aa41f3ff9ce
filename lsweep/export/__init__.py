"""Sweeps as VTK files, for ParaView and its like, through VTK's own wheel.

`write` makes `.vts` (structured surface), `.vtp` (polygons with normals, or a polyline) and `.vti` (image
data, for boxes). Importing this package does not import VTK: that happens when `write` is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsweep.export.vtk import write

__all__ = ["write"]


def __getattr__(name: str) -> Any:
    """Load `write` when it is first used (PEP 562)."""
    if name != "write":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lsweep.export.vtk import write

    return write


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
