"""VTK files, read back by VTK's own readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOXML import vtkXMLImageDataReader, vtkXMLPolyDataReader, vtkXMLStructuredGridReader

READERS = {
    ".vts": vtkXMLStructuredGridReader,
    ".vtp": vtkXMLPolyDataReader,
    ".vti": vtkXMLImageDataReader,
}


def read(path: Path):
    reader = READERS[path.suffix]()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def points(data) -> np.ndarray:
    return vtk_to_numpy(data.GetPoints().GetData())


def arrays(data) -> dict[str, np.ndarray]:
    group = data.GetPointData()
    return {group.GetArrayName(k): vtk_to_numpy(group.GetArray(k)) for k in range(group.GetNumberOfArrays())}
