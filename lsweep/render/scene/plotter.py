"""PyVista plotter of a scene: surface, contour lines, path, ground plane, lights. The only module to import PyVista."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyvista
from matplotlib.colors import Colormap
from vtkmodules.vtkCommonCore import vtkLogger

from lsweep.render.scene.camera import ANGLE, View
from lsweep.render.scene.draping import runs
from lsweep.render.scene.height_field import FLOOR, HEIGHT, RIM, Relief

LINE, MAPPED, PATH, DOT = 0.0045, 0.0035, 0.012, 0.036  # radii
INK = 0.38  # brightness of a contour line relative to the surface
ABOVE = 0.006  # height of a path above the surface, so that it is not half hidden
# (position, intensity) in the frame of the camera, so that a turning surface turns under the lights.
LIGHTS = (((-0.75, 0.75, 0.6), 0.62), ((0.9, 0.25, 0.5), 0.22), ((0.0, 1.0, -0.35), 0.2))
MATERIAL: dict[str, Any] = {"ambient": 0.34, "diffuse": 0.86, "specular": 0.12, "specular_power": 24}
PAINT = {
    **MATERIAL,
    "ambient": 0.6,
}  # material of paths, which must contrast with the surface also in the shade


class Stage:
    """Renders one relief from any view.

    Args:
        relief: the relief to draw.
        levels: contour levels, increasing, as fractions in [0, 1] of the box's height.
        cmap: colour map of the lines on the floor.
        paths: (k, 3) points and colour of each path.
        size: width and height in pixels.
        dark: whether the background is dark.
        samples: number of multisampling samples; 0 if the picture is oversampled instead.
    """

    def __init__(
        self,
        relief: Relief,
        levels: np.ndarray,
        cmap: Colormap,
        paths: Sequence[tuple[np.ndarray, str]],
        size: tuple[int, int],
        *,
        dark: bool,
        samples: int,
    ) -> None:
        with _hushed():
            make: Any = pyvista.Plotter
            self._plotter = make(off_screen=True, window_size=list(size), lighting="none")
            self._plotter.set_background("black")  # edges blend into transparent black
            if samples:
                self._plotter.enable_anti_aliasing("msaa", multi_samples=samples)
            else:
                self._plotter.disable_anti_aliasing()
            self._add_surface(relief, levels, cmap, dark)
            for points, color in paths:
                self._add_path(points, color)
            for place, intensity in LIGHTS:
                light = pyvista.Light(position=place, intensity=intensity, light_type="camera light")
                self._plotter.add_light(light)

    def frame(self, view: View) -> np.ndarray:
        """The relief from a view: (height, width, 4) uint8, colours premultiplied by alpha, transparent background."""
        camera = self._plotter.camera
        camera.position, camera.focal_point = tuple(view.eye), tuple(view.focus)
        camera.up = tuple(view.axes()[1])
        camera.view_angle = ANGLE
        camera.clipping_range = (0.01, 100.0)
        with _hushed():
            self._plotter.render()  # only the first screenshot would render by itself
            return np.asarray(self._plotter.screenshot(None, transparent_background=True, return_img=True))

    def close(self) -> None:
        """Close the window."""
        self._plotter.close()

    def _add_surface(self, relief: Relief, levels: np.ndarray, cmap: Colormap, dark: bool) -> None:
        mesh = surface_mesh(relief)
        half = np.abs([relief.x[0], relief.y[0]]) + RIM
        floor = pyvista.Plane(
            center=(0, 0, FLOOR), direction=(0, 0, 1), i_size=2 * half[0], j_size=2 * half[1]
        )
        self._plotter.add_mesh(floor, color="#2b2f36" if dark else "#eceef1", lighting=False)
        if not mesh.n_cells:
            return
        self._plotter.add_mesh(mesh, scalars="color", rgb=True, smooth_shading=True, **MATERIAL)
        lines = mesh.contour([float(v) for v in levels], scalars="level") if len(levels) else mesh
        if not lines.n_lines:
            return
        colors = np.asarray(cmap(lines["level"]))[:, :3]
        lines["ink"] = _bytes(INK * colors)
        lines["map"] = _bytes(colors if dark else 0.25 + 0.75 * colors)
        self._plotter.add_mesh(lines.tube(radius=LINE, n_sides=6), scalars="ink", rgb=True, lighting=False)
        lines.points[:, 2] = FLOOR + MAPPED
        self._plotter.add_mesh(lines.tube(radius=MAPPED, n_sides=6), scalars="map", rgb=True, lighting=False)

    def _add_path(self, points: np.ndarray, color: str) -> None:
        """Add tubes along each run of points on the surface, and balls at the start and end of the training."""
        lifted = points + np.array([0, 0, ABOVE])
        for run in runs(~np.isnan(points[:, 2])):
            if len(run) > 1:
                tube = pyvista.lines_from_points(lifted[run]).tube(radius=PATH, n_sides=12)
                self._plotter.add_mesh(tube, color=color, smooth_shading=True, **PAINT)
        for end, radius in ((0, 0.75 * DOT), (-1, DOT)):
            if len(points) and not np.isnan(points[end, 2]):
                ball = pyvista.Sphere(radius=radius, center=lifted[end])
                self._plotter.add_mesh(ball, color=color, smooth_shading=True, **PAINT)


def surface_mesh(relief: Relief) -> Any:
    """Quadrilaterals with four known corners, with smooth normals and the point data "color" and "level"."""
    known = ~np.isnan(relief.height)
    x, y = np.meshgrid(relief.x, relief.y)
    points = np.stack([x, y, np.nan_to_num(relief.height)], axis=-1).reshape(-1, 3)
    index = np.arange(known.size).reshape(known.shape)
    corners = [index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]]
    quads = np.stack(corners, axis=-1).reshape(-1, 4)
    mesh = pyvista.PolyData.from_regular_faces(points, quads[known.ravel()[quads].all(axis=1)])
    mesh["color"] = _bytes(relief.colors.reshape(-1, 3))
    mesh["level"] = points[:, 2] / HEIGHT
    if not mesh.n_cells:
        return mesh
    return mesh.compute_normals(
        cell_normals=False, split_vertices=False, consistent_normals=False, auto_orient_normals=False
    )


def _bytes(colors: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(colors, 0.0, 1.0)).astype(np.uint8)


@contextmanager
def _hushed() -> Iterator[None]:
    """Suppress VTK's warning on standard error that there is no display, which it does not need."""
    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)
