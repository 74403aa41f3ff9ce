"""Surfaces as VTK datasets, and in VTK's XML file formats. The only module that imports VTK's data model."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints, vtkStringArray
from vtkmodules.vtkCommonDataModel import (
    vtkCellArray,
    vtkDataSetAttributes,
    vtkImageData,
    vtkPolyData,
    vtkStructuredGrid,
)
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals
from vtkmodules.vtkIOXML import vtkXMLImageDataWriter, vtkXMLPolyDataWriter, vtkXMLStructuredGridWriter

from lsweep.errors import InputError
from lsweep.export.heights import Height, heights, point_data
from lsweep.render.scene.draping import FINEST, along, cut, sampled
from lsweep.surface import Surface, Trajectory

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


def structured(surface: Surface, how: Height) -> Any:
    """A line or plane as a structured grid of (nx, ny, 1) points, x fastest; z is the height.

    Points without a value, and the cells that touch them, are blanked.
    """
    z, known = heights(surface, how)
    grid = vtkStructuredGrid()
    grid.SetDimensions(*_dimensions(surface))
    grid.SetPoints(_points(surface, z))
    _attach(grid, surface, how.metric)
    if not known.all():
        hidden = np.where(known, 0, vtkDataSetAttributes.HIDDENPOINT)
        grid.GetPointData().AddArray(_array(hidden.astype(np.uint8), vtkDataSetAttributes.GhostArrayName()))
        cells = np.where(_whole(known), 0, vtkDataSetAttributes.HIDDENCELL)
        grid.GetCellData().AddArray(_array(cells.astype(np.uint8), vtkDataSetAttributes.GhostArrayName()))
    return grid


def polygons(surface: Surface, how: Height) -> Any:
    """A plane as quadrilaterals with normals, a line as a polyline; z is the height.

    All points of the grid are included, x fastest; cells that touch a point without a value are left out.
    """
    z, known = heights(surface, how)
    poly = vtkPolyData()
    poly.SetPoints(_points(surface, z))
    _attach(poly, surface, how.metric)
    if min(_dimensions(surface)[:2]) == 1:
        _polyline(poly, known.reshape(-1))
        return poly
    poly.SetPolys(_quads(known))
    return _with_normals(poly)


def image(surface: Surface, how: Height) -> Any:
    """A surface of any dimension as image data: (nx, ny, nz) points, x fastest, with axes as origin and spacing.

    Only the metric of `how` is used, for the active scalars. Raises InputError for axes that are not equally spaced.
    """
    grid = vtkImageData()
    grid.SetDimensions(*_dimensions(surface))
    axes = [surface.axes.get(name, np.zeros(1)) for name in ("x", "y", "z")]
    grid.SetOrigin(*(float(axis[0]) for axis in axes))
    grid.SetSpacing(*(_spacing(axis, name) for axis, name in zip(axes, ("x", "y", "z"), strict=True)))
    _attach(grid, surface, how.metric)
    return grid


def path(surface: Surface, how: Height) -> Any:
    """The training paths as polylines, one per trail; on a plane or line they lie on the relief of `structured`.

    Points are added between checkpoints, so that a line follows the relief. Point data: "epoch", "checkpoint" (1 at a
    checkpoint), "trail" and, on lines and planes, the interpolated metric. Outside the plane the height is that of the
    nearest edge.
    """
    trail = surface.trajectory
    if trail is None:
        raise InputError(
            "the surface has no trajectory to export; sweep with directions.trail", key="trajectory"
        )
    parts = [_polyline_of(surface, how, trail, index) for index in range(len(trail.names))]
    poly, lines, start = vtkPolyData(), vtkCellArray(), 0
    for points, _ in parts:
        lines.InsertNextCell(len(points), list(range(start, start + len(points))))
        start += len(points)
    places = vtkPoints()
    places.SetData(numpy_to_vtk(np.concatenate([points for points, _ in parts]), deep=True))
    poly.SetPoints(places)
    poly.SetLines(lines)
    for name in parts[0][1]:
        poly.GetPointData().AddArray(_array(np.concatenate([data[name] for _, data in parts]), name))
    return poly


def _polyline_of(
    surface: Surface, how: Height, trail: Trajectory, index: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One trail's points, (n, 3), and their data."""
    own = trail.trails == index
    corners = trail.coordinates[own]
    widest = max(float(axis[-1]) - float(axis[0]) for axis in surface.axes.values())
    at = cut(corners, widest / FINEST)
    points = np.zeros((len(at), 3))
    points[:, : surface.ndim] = along(corners, at)
    data = {
        "epoch": np.interp(at, np.arange(len(corners)), trail.epochs[own]),
        "checkpoint": (at == np.round(at)).astype(np.uint8),
        "trail": np.full(len(at), index, dtype=np.int32),
    }
    if surface.ndim < 3:
        x, y = surface.x, surface.axes.get("y", np.zeros(1))
        shape = (len(y), len(x))
        near = np.clip(points[:, 0], x[0], x[-1]), np.clip(points[:, 1], y[0], y[-1])
        points[:, 2] = sampled(x, y, heights(surface, how)[0].reshape(shape), *near)
        data[how.metric] = sampled(
            x, y, surface.filled(how.metric).reshape(shape), points[:, 0], points[:, 1]
        )
    return points, data


def _dimensions(surface: Surface) -> tuple[int, int, int]:
    """The number of points along x, y and z."""
    nx, ny, nz = (*reversed(surface.shape), 1, 1)[:3]
    return nx, ny, nz


def _points(surface: Surface, z: np.ndarray) -> Any:
    y = surface.axes.get("y", np.zeros(1))
    grid = np.meshgrid(surface.x, y)
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.stack([*(a.ravel() for a in grid), z.ravel()], axis=1), deep=True))
    return points


def _attach(grid: Any, surface: Surface, metric: str) -> None:
    """Add all point data to the grid, with the metric as active scalars, and the configuration as field data."""
    data = grid.GetPointData()
    for name, values in point_data(surface, metric).items():
        data.AddArray(_array(values, name))
    data.SetActiveScalars(metric)
    if surface.config:
        config = vtkStringArray()
        config.SetName("config")
        config.InsertNextValue(surface.config)
        grid.GetFieldData().AddArray(config)


def _array(values: np.ndarray, name: str) -> Any:
    array = numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=True)
    array.SetName(name)
    return array


def _whole(known: np.ndarray) -> np.ndarray:
    """Whether all corners of each cell are known; along an axis of one point cells have zero width."""
    for axis, n in enumerate(known.shape):
        if n > 1:
            known = np.delete(known, -1, axis) & np.delete(known, 0, axis)
    return known


def _quads(known: np.ndarray) -> Any:
    index = np.arange(known.size).reshape(known.shape)
    corners = [index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]]
    quads = np.stack(corners, axis=-1)[_whole(known)]
    cells = vtkCellArray()
    cells.SetData(4, numpy_to_vtkIdTypeArray(quads.astype(np.int64).ravel(), deep=True))
    return cells


def _polyline(poly: Any, known: np.ndarray) -> None:
    """One line per run of known points; a lone point becomes a vertex."""
    lines, vertices = vtkCellArray(), vtkCellArray()
    present = np.flatnonzero(known)
    for run in np.split(present, np.flatnonzero(np.diff(present) > 1) + 1):
        if len(run):
            cells = lines if len(run) > 1 else vertices
            cells.InsertNextCell(len(run), [int(k) for k in run])
    poly.SetLines(lines)
    poly.SetVerts(vertices)


def _with_normals(poly: Any) -> Any:
    """Point normals; points are neither split nor reordered."""
    normals = vtkPolyDataNormals()
    normals.SetInputData(poly)
    normals.SplittingOff()
    normals.ConsistencyOff()
    normals.AutoOrientNormalsOff()
    normals.ComputePointNormalsOn()
    normals.Update()
    return normals.GetOutput()


def _spacing(axis: np.ndarray, name: str) -> float:
    if len(axis) == 1:
        return 1.0
    step = (float(axis[-1]) - float(axis[0])) / (len(axis) - 1)
    if not np.allclose(np.diff(axis), step, rtol=1e-6, atol=0.0):
        raise InputError(
            f"image data needs equal steps, the axis {name} has unequal ones; use .vts", key=name
        )
    return step
