"""VTK data sets as XML text, and files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from vtkmodules.vtkIOXML import vtkXMLImageDataWriter, vtkXMLPolyDataWriter, vtkXMLStructuredGridWriter

from lsweep.errors import InputError

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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder. Raises InputError where that is impossible.

    (`render.output` has the like: readers don't import each other.)
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.chmod(0o666 & ~_umask())  # mkstemp's files are for their owner alone
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}", key="output") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
