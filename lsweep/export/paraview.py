"""Script for ParaView that opens a sweep's XDMF sidecar as a warped, coloured surface with contour lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lsweep.errors import one_line
from lsweep.export.xdmf import HEIGHT, KNOWN
from lsweep.render.scale import Scale

GRADES = 33  # samples of the colour map
TEMPLATE = """# {title}, as a surface in ParaView. Written by lsweep; edit as you like.
#
#   paraview --script={name}               to view it
#   pvpython {name} picture.png            to save a picture (pvpython may need a display: xvfb-run pvpython ...)
import os
import sys

from paraview.simple import *

FOLDER = os.path.dirname(os.path.abspath(__file__)) if "__file__" in globals() else {folder}
METRIC = {metric}
LOG = {log}
WARP = {warp}  # factor on the height, which is {height}
LEVELS = {levels}
COLORS = {colors}  # value, red, green, blue, ...

paraview.simple._DisableFirstRenderCameraReset()
view = GetActiveViewOrCreate("RenderView")
sweep = XDMFReader(registrationName="sweep", FileNames=[os.path.join(FOLDER, {sidecar})])

# Only points that are evaluated or interpolated, lifted to their height.
there = Threshold(registrationName="there", Input=sweep, Scalars=["POINTS", "{known}"])
there.LowerThreshold, there.UpperThreshold = 0.5, 1.5
lifted = WarpByScalar(registrationName="lifted", Input=there, Scalars=["POINTS", "{heights}"], ScaleFactor=WARP)
skin = ExtractSurface(registrationName="skin", Input=lifted)
normals = globals().get("SurfaceNormals") or globals()["GenerateSurfaceNormals"]
surface = normals(registrationName="surface", Input=skin)

colors = GetColorTransferFunction(METRIC)
colors.RGBPoints = COLORS
colors.ColorSpace = "RGB"
colors.UseLogScale = LOG
shown = Show(surface, view)
ColorBy(shown, ("POINTS", METRIC))
shown.Specular, shown.SpecularPower = 0.15, 25.0
shown.SetScalarBarVisibility(view, True)

lines = Contour(registrationName="contour lines", Input=surface, ContourBy=["POINTS", METRIC], Isosurfaces=LEVELS)
drawn = Show(Tube(registrationName="lines", Input=lines, Radius={line}), view)
drawn.ColorArrayName = ["POINTS", ""]
drawn.AmbientColor = drawn.DiffuseColor = [0.08, 0.1, 0.12]

path = {path}
if path:
    training = XMLPolyDataReader(registrationName="training", FileName=[os.path.join(FOLDER, path)])
    tube = Tube(registrationName="path", Input=training, Radius={radius})
    run = Show(tube, view)
    run.ColorArrayName = ["POINTS", ""]
    run.AmbientColor = run.DiffuseColor = [0.835, 0.369, 0.0]

view.UseColorPaletteForBackground = 0
view.Background = [1.0, 1.0, 1.0]
view.OrientationAxesLabelColor = [0.0, 0.0, 0.0]
bar = GetScalarBar(colors, view)
bar.TitleColor = bar.LabelColor = [0.0, 0.0, 0.0]
bar.TitleFontSize, bar.LabelFontSize = 18, 15
bar.UseCustomLabels, bar.CustomLabels = 1, LEVELS
bar.AutomaticLabelFormat, bar.LabelFormat, bar.RangeLabelFormat = 0, "%g", "%.2g"
bar.WindowLocation, bar.Position, bar.ScalarBarLength = "Any Location", [0.88, 0.25], 0.5
view.CameraFocalPoint = [0.0, 0.0, 0.0]
view.CameraPosition = {eye}
view.CameraViewUp = [0.0, 0.0, 1.0]
view.CameraViewAngle = 24.0
picture = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].endswith(".png") else None
if picture:
    view.ViewSize = [1280, 960]  # in ParaView the window determines the size
ResetCamera(view)
GetActiveCamera().Dolly(1.1)
if picture:
    SaveScreenshot(picture, view)
"""
EYE = (0.42, -0.79, 0.62)  # viewing direction, the same as for scenes


def script(
    place: Path,
    sidecar: str,
    path: str | None,
    *,
    title: str,
    metric: str,
    scale: Scale,
    warp: float,
    width: float,
) -> str:
    """The text of the script at `place`, which opens files in its own folder by name.

    Args:
        place: path of the script.
        sidecar: name of the XDMF file.
        path: name of the .vtp file with the training path, if there is one.
        title: name of the network.
        metric: the metric for colours and contour lines.
        scale: colours and levels, in the units of figures (accuracy in per cent).
        warp: factor on the heights in the sidecar.
        width: width of the plane.
    """
    unit = 0.01 if scale.percent else 1.0
    low, high = scale.linear(np.array([scale.vmin, scale.vmax]))
    grades = np.linspace(0.0, 1.0, GRADES)
    values = low + grades * (high - low)
    values = unit * (10.0**values if scale.log else values)
    colors = np.column_stack([values, np.asarray(scale.cmap(grades))[:, :3]])
    return TEMPLATE.format(
        title=one_line(title) or "A sweep",
        name=one_line(place.name),
        folder=ascii(str(place.parent.resolve())),
        metric=ascii(metric),
        log=int(scale.log),
        warp=repr(float(warp)),
        height=f"log10 of {metric}" if scale.log else metric,
        levels=[float(f"{level:.12g}") for level in unit * scale.levels],
        colors=[float(f"{v:.9g}") for v in colors.ravel()],
        sidecar=ascii(sidecar),
        path=ascii(path),
        radius=repr(float(0.008 * width)),
        line=repr(float(0.0025 * width)),
        known=KNOWN,
        heights=HEIGHT,
        eye=list(EYE),
    )
