"""VTK files, read back by VTK's own readers, against the numbers they were made from."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from vtk_files import READERS, arrays, points, read
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkDataSetAttributes

from lsweep import cli, export
from lsweep.errors import InputError, MissingExtra
from lsweep.export.cli import output_paths
from lsweep.surface import Status, Surface

X, Y, Z = np.linspace(-1.0, 1.0, 6), np.linspace(-0.5, 1.0, 4), np.linspace(0.0, 3.0, 3)
LOSS = 0.1 + (X[None, :] - 0.3) ** 2 + np.exp(Y[:, None])  # shape (4, 6), no symmetry


def make(axes, loss, status=None, config='[model]\nsource = "a"\n', **more) -> Surface:
    status = np.ones(loss.shape, np.uint8) if status is None else np.asarray(status, np.uint8)
    metrics = {"loss": loss, "accuracy": 1 / (1 + loss)} | more
    metrics = {name: np.where(status == Status.DONE, values, np.nan) for name, values in metrics.items()}
    seconds, rank = np.zeros(loss.shape, np.float32), np.zeros(loss.shape, np.int32)
    return Surface(dict(zip("xyz", axes, strict=False)), metrics, status, seconds, rank, config)


def holed() -> tuple[Surface, np.ndarray]:
    """A plane with a pending, a failed, a NaN and an infinite point; where it has no value."""
    loss, status = LOSS.copy(), np.ones(LOSS.shape)
    status[0, 0], status[3, 5], loss[1, 3], loss[2, 0] = Status.PENDING, Status.FAILED, np.nan, np.inf
    unknown = np.zeros(LOSS.shape, bool)
    unknown[[0, 3, 1], [0, 5, 3]] = True
    return make((X, Y), loss, status), unknown


@pytest.fixture
def plane() -> Surface:
    return make((X, Y), LOSS, loss_test=2 * LOSS)


@pytest.mark.parametrize("suffix", [".vts", ".vtp"])
def test_relief_has_the_points_and_every_metric(plane, tmp_path, suffix):
    data = read(export.write(plane, tmp_path / f"a{suffix}"))
    beta, alpha = np.meshgrid(Y, X, indexing="ij")
    expected = np.stack([alpha, beta, LOSS], axis=-1).reshape(-1, 3)
    np.testing.assert_array_equal(points(data), expected)
    found = arrays(data)
    for name, values in plane.metrics.items():
        np.testing.assert_array_equal(found[name], values.ravel(), err_msg=name)
    np.testing.assert_array_equal(found["log_loss"], np.log10(LOSS).ravel())
    np.testing.assert_array_equal(found["status"], np.ones(24))
    assert data.GetPointData().GetScalars().GetName() == "loss"
    assert data.GetFieldData().GetAbstractArray("config").GetValue(0) == plane.config


def test_structured_grid_has_its_dimensions(plane, tmp_path):
    data = read(export.write(plane, tmp_path / "a.vts"))
    assert data.GetExtent() == (0, 5, 0, 3, 0, 0)
    assert not data.HasAnyBlankPoints()


def test_polygons_are_the_cells_with_normals(plane, tmp_path):
    data = read(export.write(plane, tmp_path / "a.vtp"))
    quads = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 4)
    assert len(quads) == 5 * 3
    index = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(quads[0], [index[0, 0], index[0, 1], index[1, 1], index[1, 0]])
    normals = vtk_to_numpy(data.GetPointData().GetNormals())
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    assert (normals[:, 2] > 0).all()
    slope = -normals[:, 1] / normals[:, 2]  # the loss grows along β everywhere
    assert (slope > 0).all()


def test_height_is_logarithmic_clipped_and_scaled(plane, tmp_path):
    def height(**options):
        return points(read(export.write(plane, tmp_path / "a.vts", **options)))[:, 2]

    np.testing.assert_array_equal(height(log=True), np.log10(LOSS).ravel())
    np.testing.assert_array_equal(height(clip=1.5), np.minimum(LOSS, 1.5).ravel())
    np.testing.assert_array_equal(height(clip=1.5, log=True), np.log10(np.minimum(LOSS, 1.5)).ravel())
    np.testing.assert_array_equal(height(scale=0.25), 0.25 * LOSS.ravel())
    np.testing.assert_array_equal(height(metric="accuracy"), (1 / (1 + LOSS)).ravel())
    assert np.ptp(height(scale="auto")) == pytest.approx(1.0)  # half of the plane's width of 2


def test_structured_grid_hides_what_is_missing(tmp_path):
    surface, unknown = holed()
    data = read(export.write(surface, tmp_path / "a.vts"))
    hidden = [not data.IsPointVisible(k) for k in range(24)]
    np.testing.assert_array_equal(hidden, unknown.ravel())
    touched = unknown[:-1, :-1] | unknown[:-1, 1:] | unknown[1:, :-1] | unknown[1:, 1:]
    ghosts = vtk_to_numpy(data.GetCellData().GetArray(vtkDataSetAttributes.GhostArrayName()))
    np.testing.assert_array_equal(ghosts > 0, touched.ravel())
    np.testing.assert_array_equal(arrays(data)["loss"], surface.loss.ravel())  # NaN where unknown, inf kept
    height = points(data)[:, 2].reshape(LOSS.shape)
    finite = surface.loss[np.isfinite(surface.loss)]
    assert (height[unknown] == finite.min()).all()
    assert height[2, 0] == finite.max()


def test_polygons_leave_out_what_is_missing(tmp_path):
    surface, unknown = holed()
    data = read(export.write(surface, tmp_path / "a.vtp"))
    quads = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 4)
    assert len(quads) == 15 - 1 - 1 - 4
    assert not unknown.ravel()[quads].any()
    np.testing.assert_array_equal(arrays(data)["status"], surface.status.ravel())


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_odd_surfaces_have_finite_heights(tmp_path, value):
    for suffix in READERS:
        data = read(export.write(make((X, Y), np.full(LOSS.shape, value)), tmp_path / f"a{suffix}"))
        np.testing.assert_array_equal(arrays(data)["loss"], np.full(24, value))
        if suffix != ".vti":
            assert np.isfinite(points(data)).all()


def test_image_data_has_origin_spacing_and_x_fastest(tmp_path):
    loss = 1000 + 100 * Z[:, None, None] + 10 * Y[None, :, None] + X
    data = read(export.write(make((X, Y, Z), loss), tmp_path / "a.vti"))
    assert data.GetDimensions() == (6, 4, 3)
    assert data.GetOrigin() == (-1.0, -0.5, 0.0)
    assert data.GetSpacing() == pytest.approx((0.4, 0.5, 1.5))
    found = arrays(data)["loss"]
    at = np.array([data.GetPoint(k) for k in range(72)])
    np.testing.assert_allclose(found, 1000 + 100 * at[:, 2] + 10 * at[:, 1] + at[:, 0], atol=1e-12)
    np.testing.assert_array_equal(found, loss.ravel())
    flat = read(export.write(make((X, Y), LOSS), tmp_path / "b.vti"))
    assert flat.GetDimensions() == (6, 4, 1)
    np.testing.assert_array_equal(arrays(flat)["log_loss"], np.log10(LOSS).ravel())


def test_line_is_a_polyline_with_gaps(tmp_path):
    status = [1, 1, 0, 1, 0, 1]
    data = read(export.write(make((X,), X**2, status), tmp_path / "a.vtp"))
    assert data.GetNumberOfLines() == 1 and data.GetNumberOfVerts() == 2
    np.testing.assert_array_equal(vtk_to_numpy(data.GetLines().GetConnectivityArray()), [0, 1])
    np.testing.assert_array_equal(points(data)[[0, 3]], [[X[0], 0, X[0] ** 2], [X[3], 0, X[3] ** 2]])
    whole = read(export.write(make((X, Y[:1]), X[None] ** 2), tmp_path / "b.vtp"))
    np.testing.assert_array_equal(vtk_to_numpy(whole.GetLines().GetConnectivityArray()), np.arange(6))
    assert read(export.write(make((X,), X**2), tmp_path / "c.vts")).GetExtent() == (0, 5, 0, 0, 0, 0)


def test_file_is_xml_compressed_appended_and_the_same_twice(plane, tmp_path):
    first, second = (export.write(plane, tmp_path / n / "a.vts").read_bytes() for n in "12")
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.get("compressor") == "vtkZLibDataCompressor"
    assert root.find("AppendedData").get("encoding") == "base64"
    assert [p.name for p in (tmp_path / "1").iterdir()] == ["a.vts"]


@pytest.mark.parametrize(
    "name,options,complaint",
    [
        ("a.stl", {}, "one of the suffixes .vts, .vtp, .vti"),
        ("a.vts", {"metric": "acc"}, "no metric 'acc' in the surface (valid: accuracy, loss, loss_test)"),
        ("a.vti", {"metric": "acc"}, "no metric 'acc'"),
        ("a.vts", {"clip": np.inf}, "clip must be a finite number"),
        ("a.vts", {"clip": 0.0, "log": True}, "with log, clip must be above 0"),
        ("a.vts", {"scale": 0}, "scale must be a number other than 0, or 'auto'"),
        ("a.vts", {"scale": 1e308, "log": False}, "scale 1e+308 makes the heights overflow"),
        ("a.vts", {"scale": "big"}, "scale must be a number other than 0, or 'auto', got 'big'"),
        ("file/a.vts", {}, "cannot write"),
    ],
)
def test_bad_requests_are_one_clear_line(plane, tmp_path, name, options, complaint):
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        export.write(plane, tmp_path / name, **options)
    assert complaint in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_boxes_logs_and_steps_that_do_not_fit(tmp_path):
    box = make((X, Y, Z), np.ones((3, 4, 6)))
    with pytest.raises(InputError, match=r"use \.vti"):
        export.write(box, tmp_path / "a.vts")
    with pytest.raises(InputError, match="log needs positive values"):
        export.write(make((X, Y), -LOSS), tmp_path / "a.vts", log=True)
    with pytest.raises(InputError, match="equal steps, the axis x has unequal"):
        export.write(make((X**3, Y), LOSS), tmp_path / "a.vti")


def test_absent_vtk_is_said_plainly(plane, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "lsweep.export.grids", raising=False)
    monkeypatch.delattr(export, "grids", raising=False)
    monkeypatch.setitem(sys.modules, "vtkmodules.vtkIOXML", None)
    with pytest.raises(MissingExtra, match="pip install vtk"):
        export.write(plane, tmp_path / "a.vts")


def test_command_line(plane, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lsweep.store.reader.read", lambda path: plane)
    source = str(tmp_path / "run.h5")
    assert cli.main(["export", source]) == 0
    assert cli.main(["export", source, "--format", "vtp", "--format", "vti", "--log"]) == 0
    assert cli.main(["export", source, "-o", str(tmp_path / "new" / "b.vtp"), "--scale", "auto"]) == 0
    names = ["run.vts", "run.vtp", "run.vti", "new/b.vtp"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    assert all(read(tmp_path / name).GetNumberOfPoints() == 24 for name in names)
    assert cli.main(["export", source, "-o", str(tmp_path / "b.obj")]) == 2
    assert ".vts, .vtp, .vti" in capsys.readouterr().err


def test_command_line_output_names(tmp_path):
    assert output_paths(None, "runs/a.h5", [], "vts") == [Path("runs/a.vts")]
    assert output_paths(str(tmp_path), "runs/a.h5", ["vtp"], "vts") == [tmp_path / "a.vtp"]
    assert output_paths("b", "runs/a.h5", ["vtp", "vts"], "vts") == [Path("b.vtp"), Path("b.vts")]
    with pytest.raises(InputError, match="different formats"):
        output_paths("b.vts", "runs/a.h5", ["vtp"], "vts")


@pytest.mark.parametrize("suffix", [".vts", ".vtp", ".vti"])
def test_settled_points_have_their_interpolated_value(suffix, tmp_path):
    x = np.linspace(-1, 1, 33)
    truth = np.exp(x[None, :] ** 2 + x[:20, None])
    status = np.full(truth.shape, Status.SETTLED)
    status[::2, ::2] = status[-1, ::2] = Status.DONE
    status[4, 4] = Status.FAILED
    data = read(export.write(make((x, x[:20]), truth, status), tmp_path / f"a{suffix}"))
    found = arrays(data)
    np.testing.assert_array_equal(found["status"], status.ravel())
    blank = np.isnan(found["loss"]).reshape(truth.shape)
    assert blank[4, 4] and not blank[status == Status.DONE].any()
    whole = ~blank
    whole[:9, :9] = False  # what the failed point leaves is beside the matter
    assert whole.sum() > 500
    np.testing.assert_allclose(found["loss"].reshape(truth.shape)[whole], truth[whole], rtol=1e-9)
    if suffix != ".vti":
        np.testing.assert_array_equal(points(data)[whole.ravel(), 2], found["loss"][whole.ravel()])


def test_curvature_goes_along(tmp_path):
    """Eigenvalues are metrics: point data of every export, and heights on request."""
    surface = make((X, Y), LOSS, eig_min=-LOSS, eig_max=2 * LOSS, eig_ratio=np.full(LOSS.shape, 0.5))
    data = read(export.write(surface, tmp_path / "c.vts", metric="eig_max"))
    found = arrays(data)
    for name in ("eig_min", "eig_max", "eig_ratio"):
        np.testing.assert_array_equal(found[name], surface.metrics[name].ravel())
    np.testing.assert_allclose(points(data)[:, 2], 2 * LOSS.ravel())
