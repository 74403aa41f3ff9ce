"""Other programs' files: there and back, bit for bit where both can hold it."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from lsweep import cli
from lsweep.convert import convert, load, surface_file
from lsweep.errors import FileFormatError, InputError
from lsweep.store.reader import read
from lsweep.store.validation import read_direction_file
from lsweep.surface import Status, Surface, Trajectory, curvature_metrics

X, Y, Z = np.linspace(-1.0, 1.0, 7), np.linspace(-0.5, 1.0, 5), np.array([0.0, 0.1, 1.0])
AXES = {"line": {"x": X}, "plane": {"x": X, "y": Y}, "box": {"x": X, "y": Y, "z": Z}}


@pytest.fixture(autouse=True)
def no_child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """These files are ours: a look in a child process, a second each here, is taken where it is what is tested."""
    if "child" not in request.node.name:
        monkeypatch.setattr("lsweep.store.probe.require", lambda path, *calls: None)


def surface(axes: dict[str, np.ndarray], *, two_splits: bool = False, **more: object) -> Surface:
    """All done; the loss tells its place, one is NaN and one infinite."""
    shape = tuple(len(v) for v in reversed(axes.values()))
    rng = np.random.default_rng(0)
    loss = rng.uniform(0.1, 9, shape)
    loss.flat[2], loss.flat[4] = np.nan, np.inf
    metrics = {"loss": loss, "accuracy": rng.integers(0, 500, shape) / 500}
    if two_splits:
        metrics |= {"loss_test": 2 * loss, "accuracy_test": 1 - metrics["accuracy"]}
    return Surface(
        axes=axes,
        metrics=metrics,
        status=np.ones(shape, np.uint8),
        seconds=rng.uniform(0, 1, shape).astype(np.float32),
        rank=rng.integers(0, 4, shape).astype(np.int32),
        config=f'[model]\nsource = "a"\n[data]\nsplit = {["train", "test"][: 1 + two_splits]}\n',
        provenance={"lsweep": "0.1.0", "packages": {"torch": "2"}},
        **more,  # type: ignore[arg-type]
    )


def with_everything() -> Surface:
    """Points of every status, columns, curvature, sessions, identity and the paths of two trainings."""
    made = surface({"x": X, "y": Y**3}, two_splits=True)  # unequal steps
    status = np.ones(made.shape, np.uint8)
    status[0, :2], status[4, 3] = [Status.PENDING, Status.FAILED], Status.SETTLED
    done = status == Status.DONE
    columns = {
        "batch_size": np.where(done, 50, 0).astype(np.int32),
        "examples": np.where(done, 1234, 0).astype(np.int32),
        "precision": np.where(done, 2, 0).astype(np.uint8),
        **{
            f"curvature/{n}": np.where(done, made.loss + k, np.nan)
            for k, n in enumerate(("eig_min", "eig_max"))
        },
        "curvature/residual_min": np.where(done, 1e-3, np.nan),
        "curvature/residual_max": np.where(done, 1e-4, np.nan),
        "curvature/products": np.where(done, 40, 0).astype(np.int32),
    }
    metrics = {n: np.where(done, v, np.nan) for n, v in made.metrics.items()}
    metrics |= {"margin": np.where(done, -made.loss, np.nan)} | curvature_metrics(columns, done)
    session = {
        "job": "7",
        "ranks": 2,
        "hosts": "a,b",
        "mode": "mpio",
        "start": 1e9,
        "stop": 1e9 + 5,
        "points": 31,
    }
    return dataclasses.replace(
        made,
        metrics=metrics,
        status=status,
        seconds=np.where(done, made.seconds, np.nan).astype(np.float32),
        rank=np.where(done, made.rank, -1).astype(np.int32),
        columns=columns,
        sessions=(session,),
        identity={"weights": "abc", "axes": {"x": [-1.0, 1.0, 7]}},
        recipe={"x": {"kind": "random", "seed": 3}},
        trajectory=Trajectory(
            coordinates=np.array([[1.0, 2.0], [0.5, 0.25], [0.0, 0.0], [-1.0, 3.0]]),
            epochs=np.array([0, 1, 2, 0], np.int32),
            learning_rates=np.array([0.1, 0.1, 0.01, np.nan]),
            trails=np.array([0, 0, 0, 1], np.int32),
            names=("one", "two"),
            captured=0.75,
            shares=np.array([0.5, 0.25]),
            explained=np.array([0.9, np.nan]),
        ),
    )


def assert_same(one: Surface, other: Surface, *names: str) -> None:
    """Field by field, `names` or all that a file holds."""
    fields = names or [f.name for f in dataclasses.fields(Surface) if f.name != "path"]
    for name in fields:
        same(getattr(one, name), getattr(other, name), name)


def same(one: object, other: object, name: str) -> None:
    if isinstance(one, Trajectory):
        one, other = vars(one), vars(other)
    if isinstance(one, dict) and isinstance(other, dict):
        assert set(one) == set(other), name
        for key in one:
            same(one[key], other[key], f"{name}.{key}")
    else:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, name  # type: ignore[attr-defined]


def store(made: Surface, path: Path) -> Path:
    surface_file.write(made, path)
    return path


def crunch(path: Path, x: np.ndarray, y: np.ndarray | None, loss, accuracy, split: str = "train") -> Path:
    """A surface as the released code computes it: values of its declared shape, filled in the order of a mesh."""
    shape = (len(x),) if y is None else (len(x), len(y))
    losses, accuracies = -np.ones(shape), -np.ones(shape)
    columns, rows = (x, np.zeros(1)) if y is None else (g.ravel() for g in np.meshgrid(x, y))
    for index, (a, b) in enumerate(np.broadcast(columns, rows)):
        if loss(a, b) is not None:
            losses.ravel()[index], accuracies.ravel()[index] = loss(a, b), accuracy(a, b)
    with h5py.File(path, "a") as file:
        if "xcoordinates" not in file:
            file["dir_file"] = "some/dir.h5"
            file["xcoordinates"] = x
            if y is not None:
                file["ycoordinates"] = y
        file[f"{split}_loss"], file[f"{split}_acc"] = losses, accuracies
    return path


def bowl(a: float, b: float) -> float:
    return a + 10 * b + 20


# ---- the released code's surfaces --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y"), [(X, Y), (Y, X), (X, X + 2), (X, None)], ids=["wide", "tall", "square", "line"]
)
def test_a_released_surface_is_read_where_it_was_computed(tmp_path, x, y):
    path = crunch(tmp_path / "s.h5", x, y, bowl, lambda a, b: 50 + a)
    found = load(path)
    expected = bowl(x[None, :], (np.zeros(1) if y is None else y)[:, None])
    np.testing.assert_array_equal(found.loss, expected[0] if y is None else expected)
    np.testing.assert_allclose(found.accuracy[..., 0], (50 + x[0]) / 100, rtol=1e-15)
    assert found.done.all() and found.splits == ("train",)
    assert found.provenance["converted"]["dir_file"] == "some/dir.h5"


@pytest.mark.parametrize(
    ("x", "y"), [(X, Y), (Y, X), (X, X + 2), (X, None)], ids=["wide", "tall", "square", "line"]
)
def test_released_there_and_back(tmp_path, x, y):
    """Its own file, through lsweep's, comes out with the same shapes and numbers."""
    path = crunch(tmp_path / "s.h5", x, y, lambda a, b: None if a == x[1] else bowl(a, b), lambda a, b: 12.5)
    crunch(
        path, x, y, lambda a, b: None if a == x[1] else np.nan if b == 0 else a, lambda a, b: 100.0, "test"
    )
    convert(path, tmp_path / "a.h5")
    convert(tmp_path / "a.h5", tmp_path / "b.h5")
    with h5py.File(path) as before, h5py.File(tmp_path / "b.h5") as after:
        assert set(before) == set(after)
        for name in before:
            np.testing.assert_array_equal(before[name][()], after[name][()], err_msg=name)
        assert after["train_loss"].dtype == before["train_loss"].dtype
    assert read(tmp_path / "a.h5").count(Status.PENDING) == (1 if y is None else len(y))


@pytest.mark.parametrize("name", ["line", "plane"])
def test_lsweep_to_released_and_back(tmp_path, name):
    made = surface(AXES[name], two_splits=True)
    convert(store(made, tmp_path / "a.h5"), tmp_path / "r.h5")
    back = load(convert(tmp_path / "r.h5", tmp_path / "b.h5"))
    assert_same(made, back, "axes", "status", "splits")
    for metric, values in made.metrics.items():
        np.testing.assert_allclose(back.metrics[metric], values, rtol=1e-15, err_msg=metric)
    assert made.loss.tobytes() == back.loss.tobytes()


def test_the_shape_that_others_write(tmp_path):
    values = bowl(X[None, :], Y[:, None])
    for name, array in (("yx", values), ("xy", values.T)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["xcoordinates"], file["ycoordinates"], file["test_loss"] = X, Y, array
        found = load(tmp_path / f"{name}.h5", order=name)
        np.testing.assert_array_equal(found.loss, values)
        assert found.splits == ("test",) and np.isnan(found.accuracy).all()
    with pytest.raises(FileFormatError, match=r"shape \(5, 7\), expected \(7, 5\)"):
        load(tmp_path / "yx.h5", order="xy")


def test_falling_coordinates_are_turned(tmp_path):
    path = crunch(tmp_path / "s.h5", X[::-1], Y[::-1], bowl, lambda a, b: 0.0)
    np.testing.assert_array_equal(load(path).loss, bowl(X[None, :], Y[:, None]))


def test_a_split_that_was_not_begun_is_left_out_and_half_a_point_is_pending(tmp_path, caplog):
    path = crunch(tmp_path / "s.h5", X, Y, bowl, lambda a, b: 1.0)
    crunch(path, X, Y, lambda a, b: None, lambda a, b: None, "test")
    assert set(load(path).metrics) == {"loss", "accuracy"} and load(path).done.all()
    with h5py.File(path, "a") as file:
        file["test_loss"][0, :2] = 3.0
    found = load(path)
    assert found.count(Status.DONE) == 2 and found.splits == ("train", "test")
    assert "33 points have values of only one split" in caplog.text


def test_eigenvalues_travel(tmp_path):
    made = with_everything()
    made = dataclasses.replace(made, status=np.where(made.settled, 0, made.status).astype(np.uint8))
    convert(store(made, tmp_path / "a.h5"), tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["max_eig"].shape == (7, 5) and file["max_eig"][0, 0] == -1 and file["min_eig"][0, 0] == 1
    back = load(tmp_path / "r.h5")
    for metric in ("eig_min", "eig_max", "eig_ratio"):
        np.testing.assert_array_equal(back.metrics[metric], made.metrics[metric])


def test_what_the_released_code_cannot_hold_is_said(tmp_path, capsys):
    store(with_everything(), tmp_path / "a.h5")
    assert cli.main(["convert", str(tmp_path / "a.h5"), str(tmp_path / "r.h5")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'r.h5'}\n"
    assert all(line.startswith("lsweep: warning: r.h5: ") for line in err.splitlines())
    for phrase in ("1 failed points", "1 settled points", "cannot store margin", "trajectory", "not square"):
        assert phrase in err
    with h5py.File(tmp_path / "r.h5") as file:
        flat = file["train_loss"][...].ravel()
    made = with_everything()
    assert list(flat[:2]) == [-1, -1] and flat[3] == made.loss[0, 3]
    assert np.isfinite(flat[31]) and flat[31] == made.filled()[4, 3]


def test_a_box_has_no_place_in_the_released_code(tmp_path):
    store(surface(AXES["box"]), tmp_path / "a.h5")
    with pytest.raises(InputError, match="only lines and planes, got a box"):
        convert(tmp_path / "a.h5", tmp_path / "r.h5")
    assert not (tmp_path / "r.h5").exists()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: f.__delitem__("train_loss"), "no computed values"),
        (lambda f: f.__setitem__("ycoordinates", [0.0, 0.0, 1.0, 2.0, 3.0]), "finite and monotonic"),
        (lambda f: f.__setitem__("ycoordinates", [0.0, 1.0]), r"shape \(7, 5\), expected"),
        (lambda f: f.__setitem__("train_loss", [b"a"]), "expected kind"),
        (lambda f: f.__setitem__("train_loss", h5py.ExternalLink("x.h5", "y")), "not followed"),
    ],
    ids=["absent", "equal", "other shape", "text", "link"],
)
def test_a_damaged_released_surface_is_one_line(tmp_path, spoil, complaint):
    path = crunch(tmp_path / "s.h5", X, Y, bowl, lambda a, b: 1.0)
    with h5py.File(path, "a") as file:
        for name in ("train_loss", "ycoordinates"):
            original = file[name][()]
            del file[name]
            file[name] = original
        target = "ycoordinates" if "monotonic" in complaint or "other" in complaint else "train_loss"
        if complaint.startswith("shape") or complaint.startswith(r"shape"):
            target = "ycoordinates"
        if complaint != "no computed values":
            del file[target]
        spoil(file)
    with pytest.raises(FileFormatError, match=complaint):
        load(path)


# ---- recorded values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["resnet56", "resnet56_noshort"])
def test_the_recorded_surfaces_go_round(shared, tmp_path, network):
    golden = shared / "golden" / f"{network}_surface.h5"
    files = ["a.h5", "released.h5", "b.h5", "c.csv", "d.h5", "e.nc", "f.h5"]
    source = golden
    for name in files:
        source = convert(source, tmp_path / name)
    with h5py.File(golden) as file:
        loss, accuracy = file["loss"][...], file["accuracy"][...]
        attributes = dict(file.attrs)
    for name in files:
        found = load(tmp_path / name)
        np.testing.assert_array_equal(found.loss, loss, err_msg=name)
        np.testing.assert_allclose(found.accuracy, accuracy, rtol=1e-15, err_msg=name)
    assert load(golden).provenance["attributes"] == attributes
    with h5py.File(tmp_path / "released.h5") as file:
        assert file["train_loss"].shape == (7, 5)
        np.testing.assert_allclose(file["train_acc"][...].ravel(), 100 * accuracy.ravel(), rtol=1e-15)


@pytest.mark.parametrize("name", ["resnet20_a_to_b", "resnet20_a_to_b_states"])
def test_the_recorded_lines_go_round(shared, tmp_path, name):
    golden = shared / "golden" / f"{name}.h5"
    convert(convert(convert(golden, tmp_path / "a.h5"), tmp_path / "r.h5"), tmp_path / "b.h5")
    with h5py.File(golden) as file:
        np.testing.assert_array_equal(load(tmp_path / "b.h5").loss, file["loss"][...])
        np.testing.assert_array_equal(load(tmp_path / "b.h5").x, file["x"][...])


def test_the_recorded_directions_go_round(shared, tmp_path, caplog):
    golden = shared / "golden" / "resnet56_directions.h5"
    surface_file = shared / "golden" / "resnet56_surface.h5"
    convert(surface_file, tmp_path / "both.h5", directions=golden)  # into one file of lsweep's
    convert(tmp_path / "both.h5", tmp_path / "dirs.h5", target_format="directions")
    assert not caplog.records
    convert(tmp_path / "both.h5", tmp_path / "both.csv")
    assert "cannot store the directions (convert it with --to directions)" in caplog.text
    convert(golden, tmp_path / "again.h5")
    expected = read_direction_file(golden)
    for name in ("dirs.h5", "again.h5"):
        with h5py.File(tmp_path / name) as file:
            assert set(file) == {"xdirection", "ydirection"}
        found = read_direction_file(tmp_path / name)
        for axis in "xy":
            assert len(found[axis]) == len(expected[axis]) == 173
            for one, other in zip(found[axis], expected[axis], strict=True):
                assert (
                    one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
                )


# ---- directions and trajectories ---------------------------------------------------------------------------


def released_path(folder: Path) -> tuple[Path, Path]:
    """Principal directions and a projected path, as the released code writes them."""
    with h5py.File(folder / "directions.h5", "w") as file:
        for axis in "xy":
            file[f"{axis}direction/0"] = np.arange(6, dtype="f4").reshape(2, 3)
            file[f"{axis}direction/1"] = np.ones(2, "f4")
        file["explained_variance_ratio_"] = np.array([0.6, 0.3])
    with h5py.File(folder / "proj.h5", "w") as file:
        file["proj_xcoord"], file["proj_ycoord"] = np.array([0.9, 0.3, 0.0]), np.array([0.1, 0.2, 0.0])
    return folder / "directions.h5", folder / "proj.h5"


def test_three_released_files_become_one_and_three_again(tmp_path):
    crunch(tmp_path / "s.h5", X, Y, bowl, lambda a, b: 1.0)
    directions, projection = released_path(tmp_path)
    one = tmp_path / "one.h5"
    arguments = ["convert", str(tmp_path / "s.h5"), str(one)]
    assert cli.main([*arguments, "--directions", str(directions), "--trajectory", str(projection)]) == 0
    path = read(one).trajectory
    assert path is not None and path.coordinates.tolist() == [[0.9, 0.1], [0.3, 0.2], [0.0, 0.0]]
    assert path.explained.tolist() == [0.6, 0.3] and path.names == ("proj",)
    for name, kind, expected in (("p.h5", "projection", projection), ("d.h5", "directions", directions)):
        convert(one, tmp_path / name, target_format=kind)
        with h5py.File(tmp_path / name) as after, h5py.File(expected) as before:
            found, wanted = ({}, {})
            for file, into in ((after, found), (before, wanted)):
                file.visititems(
                    lambda n, o, into=into: into.update({n: o[()]}) if hasattr(o, "shape") else None
                )
            same(found, wanted, name)


def test_a_projected_path_is_drawn(tmp_path):
    crunch(tmp_path / "s.h5", X, Y, bowl, lambda a, b: 1.0)
    directions, projection = released_path(tmp_path)
    made = load(convert(tmp_path / "s.h5", tmp_path / "one.h5", projection=projection))
    assert made.plot("trajectory").get_xlabel() == r"$\alpha$  (along $d_1$)"
    convert(tmp_path / "s.h5", tmp_path / "two.h5", projection=projection, directions=directions)
    assert "60.00 % of the variance" in load(tmp_path / "two.h5").plot("trajectory").get_xlabel()


def test_a_path_of_several_trainings_loses_all_but_one_aloud(tmp_path, caplog):
    convert(store(with_everything(), tmp_path / "a.h5"), tmp_path / "p.h5", target_format="projection")
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["proj_xcoord"][...].tolist() == [1.0, 0.5, 0.0]
    assert "left out: ('two',)" in caplog.text and "cannot store epochs" in caplog.text


# ---- CSV and netCDF ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("suffix", [".csv", ".nc"])
def test_tables_and_labelled_data_there_and_back(tmp_path, name, suffix):
    made = surface(AXES[name], two_splits=True)
    convert(store(made, tmp_path / "a.h5"), tmp_path / f"b{suffix}")
    convert(tmp_path / f"b{suffix}", tmp_path / "c.h5")
    assert_same(made, read(tmp_path / "c.h5"), "axes", "metrics", "status", "seconds", "rank")


def test_netcdf_holds_everything(tmp_path):
    made = with_everything()
    convert(store(made, tmp_path / "a.h5"), tmp_path / "b.nc")
    assert_same(read(tmp_path / "a.h5"), made)
    assert_same(load(tmp_path / "b.nc"), dataclasses.replace(made, columns=load(tmp_path / "b.nc").columns))
    assert_same(read(convert(tmp_path / "b.nc", tmp_path / "c.h5")), made)


def test_csv_holds_every_point(tmp_path, caplog):
    made = with_everything()
    convert(store(made, tmp_path / "a.h5"), tmp_path / "b.csv")
    assert "cannot store configuration, provenance, sessions, trajectory" in caplog.text
    back = read(convert(tmp_path / "b.csv", tmp_path / "c.h5"))
    assert_same(made, back, "axes", "metrics", "status", "seconds", "rank", "columns")


def test_a_table_of_ones_own(tmp_path):
    (tmp_path / "t.csv").write_text(
        "\ufeffy,x,who,loss,margin\n1,0,me,2.5,7\n0,1,me,nan,8\n\n0,0,you,,9\n2,1,you,-1,\n", encoding="utf-8"
    )
    found = load(tmp_path / "t.csv")
    assert found.x.tolist() == [0, 1] and found.y.tolist() == [0, 1, 2]
    assert found.status.tolist() == [[0, 1], [1, 0], [0, 1]]
    np.testing.assert_array_equal(found.loss, [[np.nan, np.nan], [2.5, np.nan], [np.nan, -1]])
    assert set(found.metrics) == {"loss", "accuracy", "margin"} and found.metrics["margin"][1, 0] == 7


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "neither HDF5 nor text"),
        (b"a,b\n1,2\n", "expected a header with x"),
        (b"y,loss\n1,2\n", "expected a header with x"),
        (b"x,loss\n", "coordinates 'x' must be finite"),
        (b"x,loss\nnan,1\n", "coordinates 'x' must be finite"),
        (b"x,loss\n1,1\n1,2\n", "more than one row"),
        (b"x,loss\n1,one\n", "could not convert"),
        (b"x,loss\n1,1,1\n", "row 2 has 3 cells, the header has 2"),
        (b"x,x,loss\n1,1,1\n", "same name"),
        (b"x,loss,status\n1,1,maybe\n", "status must be one of"),
        (b"x,loss,accuracy\n1,1,93.5\n", "divide per cent by 100"),
        (b"x,loss\n\xff\xfe\xfd", "is not a CSV file"),
        (b"CDF\x01....", "netCDF-3"),
        (b"\x00\x01", "neither HDF5 nor text"),
        (b"x,y,z,loss\n" + b"".join(b"%d,%d,%d,1\n" % (i, i, i) for i in range(500)), "do not form a grid"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, capsys, content, complaint):
    (tmp_path / "t.csv").write_bytes(content)
    assert cli.main(["convert", str(tmp_path / "t.csv"), str(tmp_path / "o.h5")]) == 2
    err = capsys.readouterr().err
    assert complaint in err and err.startswith("lsweep: error: ") and err.count("\n") == 1
    assert not (tmp_path / "o.h5").exists()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.csv")
    for kind in (None, "csv"):
        with pytest.raises(FileFormatError, match="a named pipe"):
            load(tmp_path / "p.csv", kind)


def test_xarray_reads_what_was_written(tmp_path):
    xarray = pytest.importorskip("xarray")
    made = with_everything()
    convert(store(made, tmp_path / "a.h5"), tmp_path / "b.nc")
    with xarray.open_dataset(tmp_path / "b.nc", engine="h5netcdf") as data:
        assert data.loss.dims == ("y", "x") and data.loss.attrs == {
            "units": "1",
            "long_name": "mean loss, train split",
        }
        assert float(data.loss.sel(x=X[3], y=made.y[2])) == made.loss[2, 3]
        assert data.seconds.attrs["units"] == "s"
        assert data.status.attrs["flag_values"].tolist() == [0, 1, 2, 3]
        assert data.status.attrs["flag_meanings"].split() == ["pending", "done", "failed", "settled"]
        assert data.status.dtype == np.uint8 == data.status.attrs["flag_values"].dtype


def test_a_netcdf_file_that_is_damaged_or_hostile_is_one_line(tmp_path):
    path = convert(store(surface(AXES["plane"]), tmp_path / "a.h5"), tmp_path / "b.nc")
    (tmp_path / "cut.nc").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FileFormatError):
        load(tmp_path / "cut.nc")
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(FileFormatError, match="not followed"):
        load(path)


# ---- the way -----------------------------------------------------------------------------------------------


def test_an_existing_target_is_kept_unless_forced(tmp_path, capsys):
    source = store(surface(AXES["line"]), tmp_path / "a.h5")
    target = tmp_path / "b.csv"
    target.write_text("mine")
    assert cli.main(["convert", str(source), str(target)]) == 2
    assert "exists; use --force to replace it" in capsys.readouterr().err and target.read_text() == "mine"
    assert cli.main(["convert", str(source), str(target), "--force"]) == 0
    assert target.read_text().startswith("x,loss")
    with pytest.raises(InputError, match="is the source itself"):
        convert(source, source, target_format="lsweep", force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.csv"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a.h5", "b.txt"], "unknown suffix"),
        (["a.h5", "b.h5", "--to", "lsweep"], "already a file of lsweep; copy it"),
        (["a.h5", "b.h5", "--to", "relased"], "did you mean 'released'"),
        (["a.h5", "b.h5", "--from", "csw"], "did you mean 'csv'"),
        (["a.h5", "b.h5", "--to", "projection"], "no trajectory to project"),
        (["a.h5", "b.h5", "--to", "directions"], "contains the recipe of its directions"),
        (["a.h5", "b.csv", "--directions", "a.h5"], "need the target format"),
        (["none.h5", "b.csv"], "no file at"),
        (["a.h5", "."], "is a folder"),
        (["dirs.h5", "b.csv"], "directions, not a surface"),
        (["other.h5", "b.csv"], "not a file of lsweep or of the released code"),
    ],
)
def test_bad_requests_are_one_clear_line(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    store(surface(AXES["line"]), Path("a.h5"))
    with h5py.File("dirs.h5", "w") as file:
        file["xdirection/0"] = np.ones(2)
    with h5py.File("other.h5", "w") as file:
        file["stuff"] = np.ones(2)
    assert cli.main(["convert", *arguments]) == 2
    err = capsys.readouterr().err
    assert complaint in err and err.startswith("lsweep: error: ") and err.count("\n") == 1


@pytest.mark.slow
def test_a_child_process_looks_first(tmp_path, monkeypatch):
    """At each kind of foreign file, with the calls that come after."""
    from lsweep.store import probe

    crunch(tmp_path / "s.h5", X, Y, bowl, lambda a, b: 1.0)
    directions, projection = released_path(tmp_path)
    asked = []
    real = probe._ask
    monkeypatch.setattr(
        probe, "_ask", lambda path, names, size: asked.extend(names) or real(path, names, size)
    )
    convert(tmp_path / "s.h5", tmp_path / "a.h5", directions=directions, projection=projection)
    convert(tmp_path / "a.h5", tmp_path / "a.nc")
    load(tmp_path / "a.nc")
    assert {name.rpartition(":")[2] for name in asked} == {
        "kind_of",
        "read_surface",
        "read_direction_file",
        "read_explained",
        "read_projection",
        "read",
        "beside",
    }


def test_a_converted_file_is_read_like_any_other_and_not_resumed(tmp_path, capsys):
    crunch(tmp_path / "s.h5", X, Y, lambda a, b: None if b == 1 else bowl(a, b), lambda a, b: 1.0)
    convert(tmp_path / "s.h5", tmp_path / "a.h5")
    assert cli.main(["status", str(tmp_path / "a.h5")]) == 0
    assert "28 (80.0 %)" in capsys.readouterr().out
    assert cli.main(["render", str(tmp_path / "a.h5"), "-o", str(tmp_path / "a.png"), "--dpi", "30"]) == 0
    torch = pytest.importorskip("torch")
    import lsweep

    before = (tmp_path / "a.h5").read_bytes()
    grid = {"x": {"num": len(X)}, "y": {"min": -0.5, "max": 1.0, "num": len(Y)}}
    with pytest.raises(InputError, match="is another sweep"):
        lsweep.sweep(
            torch.nn.Linear(2, 2),
            (torch.ones(3, 2), torch.zeros(3).long()),
            grid=grid,
            output=tmp_path / "a.h5",
        )
    assert (tmp_path / "a.h5").read_bytes() == before


def test_the_library_is_silent_on_what_is_held(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        convert(store(with_everything(), tmp_path / "a.h5"), tmp_path / "b.nc")
    assert not caplog.records


@pytest.mark.parametrize(("package", "suffix"), [("xarray", ".nc"), ("h5netcdf", ".nc")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys, package, suffix):
    import builtins

    real = builtins.__import__

    def without(name, *rest, **kwargs):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=package)
        return real(name, *rest, **kwargs)

    store(surface(AXES["line"]), tmp_path / "a.h5")
    monkeypatch.setattr(builtins, "__import__", without)
    assert cli.main(["convert", str(tmp_path / "a.h5"), str(tmp_path / f"b{suffix}")]) == 2
    assert "pip install '.[xarray]' in lsweep's clone" in capsys.readouterr().err
