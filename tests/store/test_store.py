"""The store: one contract for memory, gather and mpio; the file's layout; what a resume accepts; dying writers."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from launch import SUPPORT, environment, need_parallel_hdf5, python
from store_contract import CHECKS, GRIDS, NAMES, Place, close, header, results

from lsweep.comm import SerialComm
from lsweep.errors import ConfigError, FileFormatError, IdentityError, InputError
from lsweep.store import StoredDirections, choose_mode, open_store, prepare_output
from lsweep.store.base import runs
from lsweep.store.reader import read, read_directions, read_identity
from lsweep.store.schema import SESSION, check_names, create
from lsweep.surface import Status


@pytest.fixture(scope="module")
def mpio_reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All checks through MPI-IO, in one process with a world of one."""
    need_parallel_hdf5()
    done = python(SUPPORT / "store_contract.py", tmp_path_factory.mktemp("mpio"))
    assert done.returncode == 0, done.stderr
    reports: dict[str, str] = json.loads(done.stdout)
    return reports


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("mode", ["memory", "gather"])
def test_contract(mode: str, check: str, tmp_path: Path) -> None:
    CHECKS[check](Place(mode, SerialComm(), tmp_path))


@pytest.mark.mpi
@pytest.mark.parametrize("check", CHECKS)
def test_contract_mpio(check: str, mpio_reports: dict[str, str]) -> None:
    assert mpio_reports[check] == ""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("gather", SerialComm(), tmp_path)


@pytest.mark.parametrize("name", GRIDS)
def test_layout(place: Place, name: str) -> None:
    grid = GRIDS[name]
    path = place.folder / "sweep.h5"
    close(place.open(grid))
    with h5py.File(path, "r") as file:
        for axis_name, axis in zip(grid.names, grid.axes, strict=True):
            assert file[axis_name].is_scale
            np.testing.assert_array_equal(file[axis_name][...], axis.values)
        kinds = {
            "loss": ("<f8", np.nan),
            "accuracy": ("<f8", np.nan),
            "loss_test": ("<f8", np.nan),
            "status": ("u1", 0),
            "seconds": ("<f4", np.nan),
            "rank": ("<i4", -1),
            "batch_size": ("<i4", 0),
        }
        for dataset_name, (dtype, fill) in kinds.items():
            dataset = file[dataset_name]
            assert dataset.shape == grid.shape
            assert dataset.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(dataset.fillvalue, fill)
            np.testing.assert_array_equal(dataset[...], np.full(grid.shape, fill, dtype=dtype))
            assert [dataset.dims[i][0].name for i in range(len(grid.shape))] == [
                f"/{n}" for n in reversed(grid.names)
            ]
        assert file["sessions/table"].dtype == SESSION
        for dataset in [*(file[n] for n in kinds), file["sessions/table"]]:
            properties = dataset.id.get_create_plist()
            assert properties.get_layout() == h5py.h5d.CONTIGUOUS
            assert properties.get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
            assert dataset.id.get_storage_size() == dataset.nbytes
            assert dataset.id.get_offset() is not None
        assert file.attrs["format"] == "lsweep"
        assert file.attrs["format_version"] == 1
        assert file.attrs["config"] == 'output = "α.h5"\n'
        assert json.loads(file.attrs["provenance"]) == {"ranks": 1}
        assert file.id.get_create_plist().get_version()[0] == 0  # a superblock that HDF5 1.8 reads


def test_a_sweep_changes_no_metadata(place: Place) -> None:
    """Outside of the raw data that were allocated at the start, not one byte changes."""
    path = place.folder / "sweep.h5"
    grid = GRIDS["plane"]
    create(path, header(grid))
    before = bytearray(path.read_bytes())
    store = place.open(grid)
    store.begin_session("1", "here")
    store.put(results(list(range(15))))
    store.sync()
    store.update_session(15)
    close(store)
    after = bytearray(path.read_bytes())
    assert len(after) == len(before)
    with h5py.File(path, "r") as file:
        for name in (*NAMES, "status", "seconds", "rank", "batch_size", "sessions/table"):
            first, size = file[name].id.get_offset(), file[name].nbytes
            before[first : first + size] = after[first : first + size] = b"\0" * size
    assert before == after


def test_xarray_shows_labelled_coordinates(place: Place) -> None:
    xarray = pytest.importorskip("xarray")
    for name in ("line", "plane", "box"):
        store = place.open(GRIDS[name], f"{name}.h5")
        store.put(results([0, 3]))
        close(store)
        with xarray.open_dataset(place.folder / f"{name}.h5", engine="h5netcdf") as data:
            assert data["loss"].dims == tuple(reversed(GRIDS[name].names))
            assert set(GRIDS[name].names) <= set(data.coords)
            assert float(data["loss"].sel(x=-1.0).values.reshape(-1)[0]) == 0.25
            np.testing.assert_array_equal(data["x"].values, GRIDS[name].x.values)


def test_accuracy_is_there_even_where_none_is_defined(place: Place) -> None:
    path = place.folder / "sweep.h5"
    create(path, header(GRIDS["line"], ("loss",)))
    assert list(read(path).metrics) == ["loss", "accuracy"]
    assert read_identity(path)[1] == ("loss",)


def test_created_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsweep.store import schema

    def fail(file: h5py.File, header: object) -> None:
        file["x"] = 1
        raise OSError("No space left on device")

    monkeypatch.setattr(schema, "_write_header", fail)
    with pytest.raises(InputError, match="No space left"):
        create(tmp_path / "sweep.h5", header(GRIDS["line"]))
    assert list(tmp_path.iterdir()) == []


def test_what_killed_sessions_left_is_swept_up(place: Place) -> None:
    """Half-made files, MPI-IO's probes and old drafts of locks; what belongs to others stays."""
    others = [
        ".sweep.h5.tmp",
        ".other.h5.abcd_123.tmp",
        "sweep.h5.locktest",
        ".sweep.h5.of.mine.h5.abcd_123.tmp",
    ]
    others += ["sweep.h5.lock", f"sweep.h5.lock.{'a' * 32}", f"other.h5.lock.{'b' * 32}"]
    draft = f"sweep.h5.lock.{'b' * 32}"
    for name in [".sweep.h5.abcd_123.tmp", "sweep.h5.locktest.0", "sweep.h5.locktest.12", draft, *others]:
        (place.folder / name).touch()
    for name in (draft, others[-1]):
        os.utime(place.folder / name, (0, time.time() - 100))
    close(place.open(GRIDS["line"]))
    assert sorted(p.name for p in place.folder.iterdir()) == sorted([*others, "sweep.h5"])


def test_created_file_obeys_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        create(tmp_path / "sweep.h5", header(GRIDS["line"]))
    finally:
        os.umask(before)
    assert (tmp_path / "sweep.h5").stat().st_mode & 0o777 == 0o640


def test_a_running_sweep_can_be_read(place: Place) -> None:
    store = place.open(GRIDS["line"])
    store.put(results([0, 1]))
    store.sync()
    store.put(results([2]))
    assert read(place.folder / "sweep.h5").status.tolist() == [1, 1, 0, 0, 0, 0, 0]
    close(store)


def test_closing_leaves_no_descriptor_open(place: Place) -> None:
    def opened() -> list[str]:
        return sorted(os.readlink(f.path) for f in os.scandir("/proc/self/fd") if os.path.exists(f.path))

    before = opened()
    for _ in range(3):
        close(place.open(GRIDS["line"]))
        read(place.folder / "sweep.h5")
    assert opened() == before


DYING = """
import os, signal, sys
from pathlib import Path
from lsweep.comm import SerialComm, connect
from lsweep.store import writer
from store_contract import GRIDS, Place, results

mode, folder, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
place = Place(mode, connect(need_mpi=True) if mode == "mpio" else SerialComm(), folder)
store = place.open(GRIDS["plane"], seconds=0.0)
store.put(results([0, 1, 2]))
calls = 0
durable = writer.FileWriter._durable

def die(self):
    global calls
    calls += 1
    if calls == step:
        os.kill(os.getpid(), signal.SIGKILL)
    durable(self)
    if calls == -step:
        os.kill(os.getpid(), signal.SIGKILL)

writer.FileWriter._durable = die
store.put(results([3, 4, 5, 6]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, -1, 2, -2])
@pytest.mark.parametrize("mode", ["gather", pytest.param("mpio", marks=pytest.mark.mpi)])
def test_a_writer_killed_in_mid_batch(mode: str, step: int, tmp_path: Path) -> None:
    """Before or after the values, before or after the status became durable: no point lies."""
    if mode == "mpio":
        need_parallel_hdf5()
    done = python("-c", DYING, mode, tmp_path, step)
    assert done.returncode == -signal.SIGKILL, done.stderr
    surface = read(tmp_path / "sweep.h5")
    status = surface.status.reshape(-1)
    assert status[:3].tolist() == [1, 1, 1]  # acknowledged before
    assert (status[3:7] == (Status.DONE if step == -2 else Status.PENDING)).all() or step == 2
    assert (status[7:] == Status.PENDING).all()
    loss = surface.loss.reshape(-1)
    np.testing.assert_array_equal(loss, np.where(status == 1, np.arange(15) + 0.25, np.nan))


@pytest.mark.parametrize(
    ("field", "before", "now"),
    [
        ("weights", "aaaa", "bbbb"),
        ("axes.x", {"x": [-1.0, 1.0, 7]}, {"x": [-1.0, 0.5, 7]}),
        ("data.test", {"train": "d"}, {"train": "d", "test": "e"}),
        ("data.test", {"train": "d", "test": "e"}, {"train": "d"}),
        ("batch_size", 50, 60),
    ],
)
def test_another_sweeps_file_is_refused_by_field(
    place: Place, field: str, before: object, now: object
) -> None:
    key = field.partition(".")[0]
    close(place.open(GRIDS["line"], **{key: before}))
    path = place.folder / "sweep.h5"
    content = path.read_bytes()
    with pytest.raises(IdentityError) as caught:
        place.open(GRIDS["line"], **{key: now})
    message = str(caught.value)
    assert caught.value.key == field
    assert f"its {field} is" in message
    leaf = field.partition(".")[2]
    for value in (before, now):
        shown = value.get(leaf) if isinstance(value, dict) else value
        assert str(shown) in message
    assert path.read_bytes() == content


def test_resume_needs_the_same_metrics_and_layout(place: Place) -> None:
    path = place.folder / "sweep.h5"
    close(place.open(GRIDS["line"]))
    fewer = dataclasses.replace(header(GRIDS["line"]), names=("loss",))
    with pytest.raises(IdentityError, match="metrics"):
        open_store(path, "gather", SerialComm(), fewer)
    with h5py.File(path, "r+") as file:
        del file["loss_test"]
        file["loss_test"] = np.zeros(3)
    with pytest.raises(FileFormatError, match=r"'loss_test' has shape \(3,\), expected \(7,\)"):
        place.open(GRIDS["line"])
    with h5py.File(path, "r+") as file:
        del file["loss_test"]
        file["loss_test"] = np.zeros(7, dtype="<f4")
    with pytest.raises(FileFormatError, match="type float32"):
        place.open(GRIDS["line"])


def test_directions_are_kept_where_told(tmp_path: Path) -> None:
    fingerprint = np.array([1.5, 2.5])
    stored = StoredDirections(
        recipe={"x": {"kind": "file"}},
        hashes={"x": "h1", "y": "h2"},
        fingerprints={"x": fingerprint, "y": fingerprint},
        tensors={"y": [np.ones((2, 3), np.float32), np.float32(7)]},
        names=["a.weight", "b"],
    )
    path = tmp_path / "sweep.h5"
    create(path, dataclasses.replace(header(GRIDS["plane"]), directions=stored))
    found = read_directions(path)
    assert found["recipe"] == {"x": {"kind": "file"}}
    assert (found["x"]["sha256"], found["x"]["stored"]) == ("h1", False)
    assert (found["y"]["sha256"], found["y"]["stored"]) == ("h2", True)
    np.testing.assert_array_equal(found["y"]["fingerprint"], fingerprint)


def test_choosing_a_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    serial = SerialComm()
    assert choose_mode("gather", serial) == "gather"
    assert choose_mode("auto", serial) == "gather"

    class Config:
        mpi = False

    with pytest.raises(ConfigError, match="needs"):
        choose_mode("mpio", serial)
    monkeypatch.setattr(h5py, "get_config", Config)
    with pytest.raises(ConfigError, match=r"built with MPI.*gather"):
        choose_mode("mpio", serial)


def test_output_is_looked_at_before_any_work(tmp_path: Path) -> None:
    prepare_output(tmp_path / "new" / "deep" / "sweep.h5")
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    with pytest.raises(InputError, match="is a folder"):
        prepare_output(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot write to the folder"):
        prepare_output(tmp_path / "file" / "sweep.h5")
    with pytest.raises(FileFormatError, match="not a readable HDF5"):
        prepare_output(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.parametrize("name", ["status", "x", "directions", "two words", "", "1st"])
def test_metric_names_that_the_schema_uses(name: str) -> None:
    with pytest.raises(ConfigError, match="metric"):
        check_names(["loss", name])


def test_runs_stay_in_a_row() -> None:
    assert runs(np.array([0, 1, 2, 3, 4, 5]), 5) == [(0, 5), (5, 6)]
    assert runs(np.array([3]), 5) == [(0, 1)]
    assert runs(np.array([1, 2, 4, 9, 10, 11]), 5) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert runs(np.array([], dtype=int), 5) == []


def test_reading_and_export_need_no_torch(place: Place) -> None:
    close(place.open(GRIDS["plane"]))
    code = (
        "import sys, lsweep; s = lsweep.open(sys.argv[1]); print(s)\n"
        "assert not {'torch', 'mpi4py', 'matplotlib'} & set(sys.modules)"
    )
    done = python("-c", code, place.folder / "sweep.h5", env=environment())
    assert done.returncode == 0, done.stderr
    assert "0/15 done" in done.stdout


def test_a_file_without_further_columns_can_be_resumed(place: Place) -> None:
    """Those of the first lsweep, and those of an evaluator that says nothing more."""
    bare = dataclasses.replace(header(GRIDS["line"]), columns={})
    create(place.folder / "sweep.h5", bare)
    store = place.open(GRIDS["line"])
    store.put(results([0, 1]))
    surface = close(store)
    assert surface.status.tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert surface.columns == {}
