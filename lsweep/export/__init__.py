"""Export to other programs: VTK files, glTF, XDMF, and a script for ParaView.

`write` makes `.vts` (structured surface), `.vtp` (polygons with normals, or a polyline), `.vti` (image data, for
boxes), `.glb` (for Blender and the web), `.xdmf` (a sidecar with which ParaView opens the HDF5 file itself) and `.py`.
Importing this package does not import VTK, which is imported when `write` first needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep.tools.lazy import attach

if TYPE_CHECKING:
    from lsweep.export.vtk import write

__getattr__, __dir__, __all__ = attach(__name__, {"vtk": "write"})
