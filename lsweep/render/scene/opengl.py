"""Tests in a child process whether this machine can render off screen."""

from __future__ import annotations

import functools
import subprocess
import sys

from lsweep.errors import InputError, MissingExtra

# Without any OpenGL library VTK does not raise: the process dies.
PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderWindow
window = vtkRenderWindow()
window.OffScreenRenderingOn()
window.SetSize(8, 8)
window.Render()
"""


@functools.cache
def require() -> None:
    """See that PyVista is installed and that a scene can be drawn; asked once per process.

    Raises:
        MissingExtra: PyVista is absent.
        InputError: there is no OpenGL.
    """
    try:
        import pyvista  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "pyvista":
            raise
        raise MissingExtra(
            "scenes and movies need PyVista, which is not installed: pip install '.[vtk]' in lsweep's clone",
            key="vtk",
        ) from error
    try:
        run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=120, check=False)
        works = run.returncode == 0
    except subprocess.TimeoutExpired:
        works = False
    if not works:
        raise InputError(
            "scenes need OpenGL, and VTK finds none that draws without a display; Mesa's does on any machine"
            " (Debian: apt-get install libegl1 libgl1-mesa-dri); --kind surface and --html need none"
        )
