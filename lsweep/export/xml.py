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
    """The data set as VTK XML with appended, zlib-compressed data.

    In base64: raw appended data would be a quarter smaller, but no XML parser may read it. Written to memory,
    because VTK's own file writers report a full disk on standard error only.
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
