"""VTK's XML file formats."""

from __future__ import annotations

from typing import Any

from vtkmodules.vtkIOXML import vtkXMLImageDataWriter, vtkXMLPolyDataWriter, vtkXMLStructuredGridWriter

WRITERS: dict[str, Any] = {
    ".vts": vtkXMLStructuredGridWriter,
    ".vtp": vtkXMLPolyDataWriter,
    ".vti": vtkXMLImageDataWriter,
}


def encode(grid: Any, suffix: str) -> bytes:
    """The dataset as VTK XML with appended, zlib-compressed data in base64.

    Raw appended data would be a quarter smaller, but is not valid XML. The file is written to memory first, because
    VTK's own file writers report a full disk only on standard error.
    """
    writer = WRITERS[suffix]()
    writer.SetInputData(grid)
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOn()
    writer.SetCompressorTypeToZLib()
    writer.WriteToOutputStringOn()
    writer.Write()
    text: str = writer.GetOutputString()
    return text.encode()
