"""Tests in a child process whether this machine can render off screen."""

from __future__ import annotations

import functools
import subprocess
import sys

from lsweep.errors import InputError, MissingExtra

# Without an OpenGL library VTK does not raise an error but kills the process.
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
    """Check that PyVista is installed and that scenes can be drawn; the result is cached per process.

    Raises:
        MissingExtra: PyVista is not installed.
        InputError: there is no OpenGL that works without a display.
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
            "scenes need OpenGL, but VTK found none that works without a display; install Mesa"
            " (Debian: apt-get install libegl1 libgl1-mesa-dri), or use --kind surface or --html instead"
        )
