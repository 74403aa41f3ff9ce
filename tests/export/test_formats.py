"""glTF, XDMF, paths and ParaView's script: opened by other programs, they have the file's values."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from launch import SUPPORT, absent, environment, python

import lsweep
from lsweep import cli, export
from lsweep.convert import surface_file
from lsweep.errors import InputError
from lsweep.export import gltf
from lsweep.export.heights import Height
from lsweep.export.vtk import write_path
from lsweep.surface import Status, Surface, Trajectory

X, Y, Z = np.linspace(-1.0, 1.0, 6), np.linspace(-0.5, 1.0, 4), np.linspace(0.0, 3.0, 3)
LOSS = 0.1 + (X[None, :] - 0.3) ** 2 + np.exp(Y[:, None])  # shape (4, 6), no symmetry
CORNERS = np.array([[-0.8, 0.9], [0.1, 0.9], [0.3, -0.2]])


def make(axes=(X, Y), loss: np.ndarray = LOSS, status: np.ndarray | None = None, **more) -> Surface:
    status = np.ones(loss.shape, np.uint8) if status is None else status.astype(np.uint8)
    done = status == Status.DONE
    metrics = {"loss": np.where(done, loss, np.nan), "accuracy": np.where(done, 1 / (1 + loss), np.nan)}
    seconds, rank = (
        np.full(loss.shape, 0.5, np.float32),
        np.arange(loss.size, dtype=np.int32).reshape(loss.shape),
    )
    return Surface(
        dict(zip("xyz", axes, strict=False)),
        metrics,
        status,
        seconds,
        rank,
        '[model]\nsource = "a"\n',
        **more,
    )


def walk(corners: np.ndarray = CORNERS) -> Trajectory:
    n, ndim = corners.shape
    return Trajectory(
        corners,
        np.arange(0, 10 * n, 10, dtype=np.int32),
        np.full(n, 0.1),
        np.zeros(n, np.int32),
        ("run",),
        0.9,
        np.full(ndim, 0.4),
        np.full(ndim, np.nan),
    )


def stored(surface: Surface, path: Path) -> Surface:
    """The surface as it is read from a file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    surface_file.write(surface, path)
    return lsweep.open(path, trusted=True)


def holed() -> np.ndarray:
    status = np.ones(LOSS.shape)
    status[0, 0], status[2, 3] = Status.PENDING, Status.FAILED
    return status


# glTF ------------------------------------------------------------------------------------------------------


def scene_of(path: Path):
    try:
        import trimesh
    except ImportError:
        absent("trimesh is absent (pip install '.[dev]' in lsweep's clone)")
    return trimesh.load_scene(path, process=False)


def test_glb_has_the_relief_upright_with_normals_and_colours(tmp_path: Path) -> None:
    import matplotlib

    scene = scene_of(export.write(make(), tmp_path / "a.glb", log=True, scale=0.5))
    mesh = scene.geometry["surface"]
    beta, alpha = np.meshgrid(Y, X, indexing="ij")
    height = 0.5 * np.log10(LOSS)
    np.testing.assert_allclose(mesh.vertices, np.stack([alpha, height, -beta], -1).reshape(-1, 3), atol=1e-6)
    assert len(mesh.faces) == 2 * 5 * 3
    assert (mesh.face_normals[:, 1] > 0).all()  # counterclockwise from above
    slope = np.stack(
        [-np.gradient(height, X, axis=1), np.ones_like(height), np.gradient(height, Y, axis=0)], -1
    )
    slope /= np.linalg.norm(slope, axis=-1, keepdims=True)
    inner = np.zeros(LOSS.shape, bool)
    inner[1:-1, 1:-1] = True
    cosine = (mesh.vertex_normals * slope.reshape(-1, 3)).sum(axis=1)[inner.ravel()]
    assert cosine.min() > 0.99
    level = (np.log10(LOSS) - np.log10(LOSS.min())) / np.ptp(np.log10(LOSS))
    srgb = matplotlib.colormaps["viridis"](level)[..., :3].reshape(-1, 3)
    found = np.asarray(mesh.visual.vertex_attributes["color"], float)[:, :3]
    np.testing.assert_allclose(found / (255 if found.max() > 1 else 1), gltf.linear(srgb), atol=0.01)


def test_glb_leaves_out_what_is_missing(tmp_path: Path) -> None:
    surface = make(status=holed(), trajectory=walk())
    scene = scene_of(export.write(surface, tmp_path / "a.glb", log=False, scale=1))
    assert len(scene.geometry["surface"].faces) == 2 * (15 - 1 - 4)
    assert all(np.isfinite(mesh.vertices).all() for mesh in scene.geometry.values())
    # The path ends where the hole begins, the cells around (0.2, 0.5), and goes on behind it.
    before, after = (_rings(mesh) for name, mesh in scene.geometry.items() if name.startswith("path"))
    assert before[-1, 2] == pytest.approx(-0.9, abs=1e-6) and -0.22 < before[-1, 0] <= -0.19
    assert 0.0 <= after[0, 2] < 0.02


def test_glb_has_the_path_as_a_tube(tmp_path: Path) -> None:
    scene = scene_of(export.write(make(trajectory=walk()), tmp_path / "a.glb", log=False, scale=1))
    tube = scene.geometry["path run"]
    assert len(tube.faces) > 1000 and tube.euler_number == 0  # open at both ends, and without a hole
    assert tube.area == pytest.approx(2 * np.pi * 0.012 * _length(tube), rel=0.05)
    outward = (tube.vertex_normals * (tube.vertices - np.repeat(_rings(tube), 8, axis=0))).sum(axis=1)
    assert (outward > 0).mean() > 0.99
    middle = _rings(tube)
    np.testing.assert_allclose(middle[[0, -1]][:, [0, 2]], [[-0.8, -0.9], [0.3, 0.2]], atol=1e-6)
    truth = 0.1 + (middle[:, 0] - 0.3) ** 2 + np.exp(-middle[:, 2])
    assert np.abs(middle[:, 1] - truth).max() < 0.1


def _rings(tube) -> np.ndarray:
    """The middles of a tube's rings."""
    return tube.vertices.reshape(-1, 8, 3).mean(axis=1)


def _length(tube) -> float:
    return float(np.linalg.norm(np.diff(_rings(tube), axis=0), axis=1).sum())


def test_glb_is_well_formed_to_the_byte(tmp_path: Path) -> None:
    """Header, chunks and views of the specification (glTF 2.0, §4.4, §3.6)."""
    content = export.write(make(trajectory=walk()), tmp_path / "a.glb").read_bytes()
    assert content[:8] == b"glTF\2\0\0\0" and int.from_bytes(content[8:12], "little") == len(content)
    size = int.from_bytes(content[12:16], "little")
    assert content[16:20] == b"JSON" and size % 4 == 0
    document = json.loads(content[20 : 20 + size])
    binary = content[20 + size + 8 :]
    assert len(binary) % 4 == 0 and 0 <= len(binary) - document["buffers"][0]["byteLength"] < 4
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        width = 12 if accessor["type"] == "VEC3" else 4
        assert view["byteOffset"] % 4 == 0 and view["byteLength"] == width * accessor["count"]
        numbers = np.frombuffer(
            binary, "<f4" if width == 12 else "<u4", view["byteLength"] // 4, view["byteOffset"]
        )
        if "min" in accessor:
            assert numbers.reshape(-1, 3).min(axis=0).tolist() == accessor["min"]
        assert np.isfinite(numbers).all()
    assert document["asset"]["extras"]["alpha"] == [-1.0, 1.0]


# XDMF ------------------------------------------------------------------------------------------------------

PROBE = """
import json, sys
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOXdmf2 import vtkXdmfReader
reader = vtkXdmfReader()
reader.SetFileName(sys.argv[1])
reader.Update()
data = reader.GetOutputDataObject(0)
group = data.GetPointData()
print(json.dumps({
    "type": data.GetClassName(),
    "points": [data.GetPoint(k) for k in range(data.GetNumberOfPoints())],
    "data": {group.GetArrayName(k): vtk_to_numpy(group.GetArray(k)).tolist() for k in range(group.GetNumberOfArrays())},
}))
"""


def through_vtk(path: Path) -> dict:
    """What VTK's own reader finds; in a process of its own, whose HDF5 is VTK's."""
    run = python("-c", PROBE, path)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def same_points(found: dict, surface: Surface) -> None:
    axes = [surface.axes.get(name, np.zeros(1)) for name in ("z", "y", "x")]
    expected = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(found["points"], expected, atol=1e-15)


def same_values(found: dict, surface: Surface) -> None:
    columns = {"status": surface.status, "seconds": surface.seconds, "rank": surface.rank, **surface.metrics}
    for name, values in columns.items():
        got = np.array(found["data"][name], dtype=float)
        known = surface.done.ravel()
        np.testing.assert_array_equal(got[known], values.ravel()[known].astype(float), err_msg=name)


@pytest.mark.parametrize("axes", [(X,), (X, Y), (X, Y, Z)], ids=["line", "plane", "box"])
def test_xdmf_opens_the_file_itself(tmp_path: Path, axes) -> None:
    shape = tuple(len(axis) for axis in reversed(axes))
    loss = np.random.default_rng(0).uniform(0.1, 9.0, shape)
    status = np.ones(shape)
    status.flat[3] = Status.PENDING
    surface = stored(make(axes, loss, status), tmp_path / "runs of" / "a sweep.h5")
    sidecar = export.write(surface, tmp_path / "views" / "a.xdmf", log=True, clip=5.0)
    found = through_vtk(sidecar)
    assert found["type"] == "vtkRectilinearGrid"
    same_points(found, surface)
    same_values(found, surface)
    if len(axes) < 3:
        height = np.log10(np.minimum(loss, 5.0)).ravel()
        known = surface.done.ravel()
        np.testing.assert_array_equal(np.array(found["data"]["height"])[known], height[known])
        np.testing.assert_array_equal(found["data"]["known"], known)
    # What it says is in the file is there, and nowhere is a path of this machine.
    for item in ElementTree.parse(sidecar).iter("DataItem"):
        if item.get("Format") == "HDF":
            name, place = (item.text or "").split(":/")
            assert not os.path.isabs(name)
            with h5py.File(sidecar.parent / name) as file:
                assert file[place].size == np.prod([int(n) for n in item.get("Dimensions", "").split()])


def test_xdmf_shows_a_running_sweep_as_it_goes_on(tmp_path: Path) -> None:
    surface = stored(make(status=holed()), tmp_path / "a.h5")
    sidecar = export.write(surface, tmp_path / "a.xmf")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["loss"][2, 3], file["status"][2, 3] = 7.5, 1
    found = through_vtk(sidecar)
    assert found["data"]["loss"][2 * 6 + 3] == 7.5 and found["data"]["status"][2 * 6 + 3] == 1


def test_xdmf_has_the_interpolated_values_of_a_refined_sweep(tmp_path: Path) -> None:
    status = np.ones(LOSS.shape)
    status[1, [1, 3]], status[3, 5] = Status.SETTLED, Status.FAILED
    surface = stored(make(status=status), tmp_path / "a.h5")
    found = through_vtk(export.write(surface, tmp_path / "a.xdmf"))["data"]
    same_values({"data": found}, surface)
    settled = surface.settled.ravel()
    assert np.array(found["known"])[settled].all() and np.isfinite(found["loss"]).all()
    for name in ("loss", "accuracy"):
        np.testing.assert_array_equal(np.array(found[name])[settled], surface.filled(name).ravel()[settled])


def test_xdmf_has_curvature_and_columns(tmp_path: Path) -> None:
    columns = {
        "batch_size": np.full(LOSS.shape, 64, np.int32),
        "precision": np.full(LOSS.shape, 2, np.uint8),
        "curvature/eig_min": -LOSS,
        "curvature/eig_max": 2 * LOSS,
    }
    surface = stored(make(columns=columns), tmp_path / "a.h5")
    assert "eig_ratio" in surface.metrics
    found = through_vtk(export.write(surface, tmp_path / "a.xdmf"))["data"]
    np.testing.assert_array_equal(found["eig_min"], -LOSS.ravel())
    np.testing.assert_array_equal(found["eig_max"], 2 * LOSS.ravel())
    assert set(found["batch_size"]) == {64} and set(found["precision"]) == {2} and "eig_ratio" not in found


def test_what_cannot_be_exported_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was read from a file"):
        export.write(make(), tmp_path / "a.xdmf")
    with pytest.raises(InputError, match="XDMF cannot refer to"):
        export.write(replace(make(), path=tmp_path / "a:b.h5"), tmp_path / "a.xdmf")
    for suffix in (".glb", ".py"):
        with pytest.raises(InputError, match=f"{suffix} is for planes"):
            export.write(make((X,), X**2), tmp_path / f"a{suffix}")
    with pytest.raises(InputError, match="expected a cell with four values"):
        export.write(make(status=np.zeros(LOSS.shape)), tmp_path / "a.glb")
    with pytest.raises(InputError, match="unknown colour map"):
        export.write(make(), tmp_path / "a.glb", cmap="virids")
    with pytest.raises(InputError, match=r"too large for \.glb"):
        export.write(make(loss=1e40 * LOSS), tmp_path / "a.glb", scale=1, log=False)
    assert not list(tmp_path.iterdir())


def test_an_accuracy_is_clipped_as_a_fraction(tmp_path: Path) -> None:
    script = export.write(stored(make(), tmp_path / "a.h5"), tmp_path / "a.py", metric="accuracy", clip=0.5)
    colors = ast.literal_eval(re.findall(r"COLORS = (\[.*\])", script.read_text())[0])
    assert colors[0] == pytest.approx((1 / (1 + LOSS)).min()) and colors[-4] == pytest.approx(0.5)


# The path --------------------------------------------------------------------------------------------------


def test_the_path_is_a_polyline_on_the_relief(tmp_path: Path, monkeypatch, capsys) -> None:
    from vtk_files import arrays, points, read
    from vtkmodules.util.numpy_support import vtk_to_numpy

    surface = make(trajectory=walk())
    monkeypatch.setattr("lsweep.store.reader.read", lambda path: surface)
    assert cli.main(["export", str(tmp_path / "a.h5"), "--format", "vts", "--format", "vti", "--log"]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.split()]
    assert names == ["a.vts", "a.vti", "a_path.vtp"]
    data = read(tmp_path / "a_path.vtp")
    assert data.GetNumberOfLines() == 1
    np.testing.assert_array_equal(
        vtk_to_numpy(data.GetLines().GetConnectivityArray()), np.arange(data.GetNumberOfPoints())
    )
    found, at = arrays(data), points(data)
    marked = found["checkpoint"] == 1
    np.testing.assert_allclose(at[marked, :2], CORNERS, atol=1e-12)
    np.testing.assert_allclose(found["epoch"][marked], [0, 10, 20])
    assert np.abs(np.diff(at[:, :2], axis=0)).max() < 0.011  # it follows the relief between the checkpoints
    truth = 0.1 + (at[:, 0] - 0.3) ** 2 + np.exp(at[:, 1])
    np.testing.assert_allclose(found["loss"], truth, atol=0.1)
    np.testing.assert_allclose(at[:, 2], np.log10(truth), atol=0.1)


def test_a_path_in_a_box_has_three_coordinates(tmp_path: Path) -> None:
    from vtk_files import points, read

    corners = np.array([[0.0, 0.5, 1.0], [0.5, 0.0, 2.0]])
    surface = make((X, Y, Z), np.ones((3, 4, 6)), trajectory=walk(corners))
    at = points(read(write_path(surface, tmp_path / "p.vtp", Height())))
    np.testing.assert_allclose(at[[0, -1]], corners, atol=1e-12)


def test_odd_paths_are_exported(tmp_path: Path) -> None:
    """There and back again, and a checkpoint that is nowhere."""
    surface = make(trajectory=walk(np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.0], [np.nan, 0.0]])))
    scene = scene_of(export.write(surface, tmp_path / "a.glb"))
    tube = scene.geometry["path run"]
    assert np.isfinite(tube.vertices).all() and np.isfinite(tube.vertex_normals).all()
    assert np.ptp(tube.vertices[:, 0]) == pytest.approx(0.5, abs=0.03)
    assert write_path(surface, tmp_path / "p.vtp", Height()).is_file()


# ParaView itself -------------------------------------------------------------------------------------------


def pvpython(*arguments: object) -> subprocess.CompletedProcess[str]:
    """ParaView's Python, on a display of its own: Debian's draws on nothing else."""
    programs = [shutil.which(name) for name in ("xvfb-run", "pvpython")]
    if not all(programs):
        absent("pvpython or xvfb-run is absent (apt-get install paraview python3-paraview xvfb xauth)")
    clean = {k: v for k, v in environment().items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    command = [programs[0], "-a", programs[1], *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=clean, check=False)


@pytest.mark.slow
def test_paraview_opens_every_format_with_the_file_s_values(tmp_path: Path) -> None:
    surface = stored(make(status=holed(), trajectory=walk()), tmp_path / "a.h5")
    box = stored(make((X, Y, Z), np.random.default_rng(1).uniform(size=(3, 4, 6))), tmp_path / "box.h5")
    source, made = str(tmp_path / "a.h5"), tmp_path / "made" / "a"
    for suffix in ("vts", "vtp", "vti", "xdmf"):
        assert cli.main(["export", source, "-o", f"{made}.{suffix}"]) == 0
    for suffix in ("vti", "xdmf"):
        assert cli.main(["export", str(tmp_path / "box.h5"), "-o", f"{made}_box.{suffix}"]) == 0
    line = stored(make((X,), X**2 + 0.1), tmp_path / "line.h5")
    export.write(line, f"{made}_line.xdmf")
    opened = [f"any={made}.{s}" for s in ("vts", "vtp", "vti", "xdmf")] + [f"any={made}_path.vtp"]
    opened += [f"{how}={made}{of}.xdmf" for of in ("", "_box", "_line") for how in ("xdmf2", "xdmf3")]
    run = pvpython(SUPPORT / "paraview_probe.py", "open", *opened, f"any={made}_box.vti")
    assert run.returncode == 0, run.stderr
    vts, vtp, vti, xdmf, path, *others = json.loads(run.stdout.splitlines()[-1])
    for found, kind in (
        (vts, "StructuredGrid"),
        (vtp, "PolyData"),
        (vti, "ImageData"),
        (xdmf, "RectilinearGrid"),
    ):
        assert found["type"] == f"vtk{kind}"
        for name, values in surface.metrics.items():
            got = np.array(found["data"][name], float)
            np.testing.assert_array_equal(got[surface.done.ravel()], values[surface.done], err_msg=kind)
        np.testing.assert_array_equal(found["data"]["status"], surface.status.ravel())
    np.testing.assert_array_equal(
        np.array(vts["points"])[surface.done.ravel(), 2], surface.loss[surface.done]
    )
    assert vtp["cells"] == 15 - 1 - 4
    same_points(vti, surface)
    assert path["cells"] == 1 and path["data"]["epoch"][-1] == 20
    plane2, plane3, box2, box3, line2, line3, image = others
    pairs = ((xdmf, surface), (plane2, surface), (plane3, surface), (box2, box), (box3, box), (line2, line))
    for found, truth in (*pairs, (line3, line)):
        same_points(found, truth)
        same_values(found, truth)
    same_points(image, box)
    np.testing.assert_array_equal(image["data"]["loss"], box.loss.ravel())


@pytest.mark.slow
def test_the_script_runs_in_paraview(tmp_path: Path) -> None:
    from browser import pixels

    surface = stored(make(status=holed(), trajectory=walk()), tmp_path / "a b.h5")
    script = export.write(surface, tmp_path / "it's a view.py", clip=2.0, log=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a b.h5",
        "it's a view.py",
        "it's a view_data.vtp",
        "it's a view_data.xdmf",
    ]
    run = pvpython(SUPPORT / "paraview_probe.py", "run", script, tmp_path / "a.png")
    assert run.returncode == 0, run.stderr
    made = json.loads(run.stdout.splitlines()[-1])
    relief = made["surface"]
    assert relief["cells"] == 15 - 1 - 4
    points, loss = np.array(relief["points"]), np.array(relief["data"]["loss"])
    height = np.log10(np.minimum(loss, 2.0))
    factor = np.ptp(points[:, 2]) / np.ptp(height)
    assert np.ptp(points[:, 2]) == pytest.approx(1.0, abs=1e-5)  # half of the plane's width of 2
    np.testing.assert_allclose(points[:, 2], factor * height, atol=1e-5)
    levels = np.unique(np.round(made["contour lines"]["data"]["loss"], 6))
    assert len(levels) > 3 and levels.max() <= 2.0
    assert len(made["path"]["points"]) > 100
    picture = pixels((tmp_path / "a.png").read_bytes()).astype(int)
    assert picture.shape == (960, 1280, 3) and 0.05 < (np.ptp(picture, axis=2) > 40).mean() < 0.7
