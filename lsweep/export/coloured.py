"""Exports with colours: glTF, and ParaView's script with the files that it opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lsweep.errors import InputError
from lsweep.export import gltf, paraview
from lsweep.export.heights import Height, factor, heights
from lsweep.export.vtk import write, write_path
from lsweep.render.field import Field, extract, network_name
from lsweep.render.look import Look
from lsweep.render.scale import Scale, choose
from lsweep.render.scene.draping import FINEST, along, cut, runs, sampled
from lsweep.surface import Surface
from lsweep.tools.files import write_bytes

# The suffix keeps the script's files, STEM_data.xdmf and STEM_data.vtp, apart from other exports with other heights.
DATA = "_data"
ABOVE = 0.004  # height of a path above the surface, in units of the plane's width


def write_glb(surface: Surface, path: Path, how: Height, log: bool | None, cmap: str | None) -> None:
    """Write a plane as glTF; for arguments and errors see `vtk.write`."""
    field, scale, how = _settled(surface, how, log, cmap)
    z, known = heights(surface, how)
    x, y = np.meshgrid(surface.x, surface.y)
    index = np.arange(known.size).reshape(known.shape)
    corners = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1)
    quads = corners.reshape(-1, 4)
    quads = quads[known.ravel()[quads].all(axis=1)]
    if not len(quads):
        raise InputError(
            "expected a cell with four values for .glb, found none; export again when more points are done",
            key="output",
        )
    colors = np.asarray(scale.cmap(scale.norm()(scale.drawn(np.nan_to_num(field.values, nan=scale.lo)))))
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    if np.abs(points).max() > np.finfo(np.float32).max:
        raise InputError(
            "coordinates or heights are too large for .glb, which stores float32; use a smaller --scale or --clip",
            key="scale",
        )
    extras = {"metric": how.metric, "log10": how.log, "alpha": _ends(surface.x), "beta": _ends(surface.y)}
    write_bytes(
        path,
        gltf.encode(
            points, quads, colors.reshape(-1, 4)[:, :3], _paths(surface, np.where(known, z, np.nan)), extras
        ),
    )


def write_script(surface: Surface, path: Path, how: Height, log: bool | None, cmap: str | None) -> None:
    """Write a script for ParaView, its sidecar and any training path; for arguments and errors see `vtk.write`."""
    _, scale, how = _settled(surface, how, log, cmap)
    sidecar = write(
        surface, path.with_name(path.stem + DATA + ".xdmf"), metric=how.metric, log=how.log, clip=how.clip
    )
    warp = factor(surface, how)
    training = path.with_name(path.stem + DATA + ".vtp") if surface.trajectory is not None else None
    if training is not None:
        write_path(surface, training, replace(how, scale=warp))
    text = paraview.script(
        path,
        sidecar.name,
        training.name if training else None,
        title=network_name(surface),
        metric=how.metric,
        scale=scale,
        warp=warp,
        width=max(np.ptp(surface.x), np.ptp(surface.y)),
    )
    write_bytes(path, text.encode("utf-8"))


def _settled(
    surface: Surface, how: Height, log: bool | None, cmap: str | None
) -> tuple[Field, Scale, Height]:
    """The field, its scale as in a figure, and the height options with log as chosen by the scale."""
    field = extract(surface, how.metric, 2)
    clip = how.clip if how.clip is None or not field.percent else 100 * how.clip
    scale = choose([field], Look(how.metric, "auto" if log is None else log, clip, cmap=cmap))
    return field, scale, replace(how, log=scale.log)


def _ends(axis: np.ndarray) -> list[float]:
    return [float(axis[0]), float(axis[-1])]


def _paths(surface: Surface, z: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The parts of the training paths slightly above the surface: names and (k, 3) points. z is NaN off the surface."""
    trail = surface.trajectory
    if trail is None:
        return []
    found: list[tuple[str, np.ndarray]] = []
    width = float(max(np.ptp(surface.x), np.ptp(surface.y)))
    for index, name in enumerate(trail.names):
        corners = trail.coordinates[trail.trails == index]
        x, y = along(corners, cut(corners, width / FINEST)).T
        points = np.stack([x, y, sampled(surface.x, surface.y, z, x, y) + ABOVE * width], axis=-1)
        parts = [points[run] for run in runs(~np.isnan(points[:, 2]))]
        parts = [
            part[np.append(True, np.abs(np.diff(part, axis=0)).max(axis=1) > 1e-9 * width)] for part in parts
        ]
        found += [(f"path {name}", part) for part in parts if len(part) > 1]
    return found
