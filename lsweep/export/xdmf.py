"""XDMF sidecar: XML that describes a sweep's HDF5 file to ParaView and other programs.

The numbers stay in the HDF5 file, so reloading the sidecar shows the current state of a running sweep. The sidecar
itself holds a snapshot of the height of each point, finite everywhere, for ParaView's "Warp By Scalar"; a mask of the
points with a value, for "Threshold"; and the metrics of a refined sweep, whose file has no values at settled points.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from lsweep.errors import InputError
from lsweep.export.heights import Height, heights
from lsweep.grid import AXIS_NAMES
from lsweep.surface import DERIVED, Surface

HEIGHT, KNOWN = "height", "known"
# Names in the HDF5 file of the eigenvalues that are metrics in Python.
IN_FILE = {"eig_min": "curvature/eig_min", "eig_max": "curvature/eig_max"}
KINDS = {"f": "Float", "i": "Int", "u": "UInt"}


def encode(surface: Surface, how: Height, path: Path) -> bytes:
    """The sidecar at `path` for the file that the surface was read from, which it names by a relative path.

    A line, plane or box is a rectilinear grid, x fastest; a line or plane has the point data "height" and "known".
    If points are settled, metrics are interpolated and, like heights, finite everywhere.

    Raises:
        InputError: the surface was not read from a file, XDMF cannot hold its name, or the metric is unknown.
    """
    source = _source(surface, path)
    root = ElementTree.Element("Xdmf", Version="2.0")
    domain = ElementTree.SubElement(root, "Domain")
    grid = ElementTree.SubElement(domain, "Grid", Name="sweep", GridType="Uniform")
    # Always three dimensions: with (ny, nx), ParaView's older reader writes beyond its memory.
    shape = (1, 1, *surface.shape)[-3:]
    _add(grid, "Topology", TopologyType="3DRectMesh", Dimensions=" ".join(map(str, shape)))
    geometry = _add(grid, "Geometry", GeometryType="VXVYVZ")
    for name in AXIS_NAMES:
        if name in surface.axes:
            _heavy(geometry, surface.axes[name].shape, np.dtype("f8"), f"{source}:/{name}")
        else:
            _light(geometry, np.zeros(1))
    refined = surface.metrics if surface.settled.any() else ()
    interpolated = [name for name in refined if np.isfinite(surface.filled(name)).any()]
    for name, (place, dtype) in members(surface).items():
        if name in interpolated:
            _light(_attribute(grid, name), heights(surface, Height(name))[0].reshape(shape))
        else:
            _heavy(_attribute(grid, name), shape, dtype, f"{source}:/{place}")
    if surface.ndim < 3:
        height, known = heights(surface, how)
        _light(_attribute(grid, HEIGHT), height.reshape(shape))
        _light(_attribute(grid, KNOWN), known.reshape(shape).astype(np.float64))
    ElementTree.indent(root)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="utf-8") + b"\n"


def members(surface: Surface) -> dict[str, tuple[str, np.dtype]]:
    """Every dataset with one number per point: name → (its place in the file, its dtype)."""
    real = np.dtype("f8")
    metrics = {name: (IN_FILE.get(name, name), real) for name in surface.metrics if name != DERIVED[2]}
    columns = {
        name.replace("/", "_"): (name, values.dtype)
        for name, values in surface.columns.items()
        if name not in IN_FILE.values()
    }
    own = {"status": np.dtype("u1"), "seconds": np.dtype("f4"), "rank": np.dtype("i4")}
    return metrics | columns | {name: (name, dtype) for name, dtype in own.items()}


def _source(surface: Surface, path: Path) -> str:
    """The HDF5 file's path from the sidecar's folder. Raises InputError."""
    if surface.path is None:
        raise InputError(
            "an XDMF sidecar needs a surface that was read from a file; save the sweep to a file first",
            key="output",
        )
    relative = os.path.relpath(surface.path.resolve(), path.parent.resolve())
    # XDMF separates file and dataset by a colon, and its readers trim white space.
    if ":" in relative or relative != " ".join(relative.split()) or not relative.isprintable():
        raise InputError(
            f"XDMF cannot refer to the file {relative!r}, whose name has a colon, a line break or doubled blanks; "
            "rename it",
            key="output",
        )
    return relative


def _add(parent: ElementTree.Element, name: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, name, attributes)


def _attribute(grid: ElementTree.Element, name: str) -> ElementTree.Element:
    return _add(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Node")


def _heavy(parent: ElementTree.Element, shape: tuple[int, ...], dtype: np.dtype, place: str) -> None:
    """Reference to numbers in the HDF5 file."""
    kind = "UChar" if dtype == np.uint8 else KINDS[dtype.kind]
    item = _add(
        parent,
        "DataItem",
        Dimensions=" ".join(map(str, shape)),
        NumberType=kind,
        Precision=str(dtype.itemsize),
        Format="HDF",
    )
    item.text = place


def _light(parent: ElementTree.Element, values: np.ndarray) -> None:
    """Numbers stored in the sidecar itself, without loss of precision."""
    item = _add(
        parent,
        "DataItem",
        Dimensions=" ".join(map(str, values.shape)),
        NumberType="Float",
        Precision="8",
        Format="XML",
    )
    item.text = " ".join(map(repr, values.ravel().tolist()))
