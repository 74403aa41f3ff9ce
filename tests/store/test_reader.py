"""Files are input: whatever is wrong with one is said in one line, and nothing outside of it is opened."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from store_contract import GRIDS, Place, close, results

from lsweep.comm import SerialComm
from lsweep.errors import FileFormatError
from lsweep.store import validation
from lsweep.store.reader import read, read_directions, read_identity
from lsweep.store.validation import read_direction_file
from lsweep.watch.status import describe

Change = Callable[[h5py.File], None]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A 3 × 5 sweep, all done."""
    place = Place("gather", SerialComm(), tmp_path)
    store = place.open(GRIDS["plane"])
    store.begin_session("1", "here")
    store.put(results(list(range(15))))
    close(store)
    return tmp_path / "sweep.h5"


def refused(read: Callable[..., object], path: Path) -> str:
    """Without a child process before it, whose answer would be the same and slower: see test_store_probe."""
    with pytest.raises(FileFormatError) as caught:
        read(path, trusted=True)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_no_hdf5_file(tmp_path: Path, sweep: Path) -> None:
    assert "no file at" in refused(read, tmp_path / "absent.h5")
    assert "no file at" in refused(read, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "no file at" in refused(read, tmp_path / "pipe")
    for content in (
        b"",
        b"x" * 4096,
        sweep.read_bytes()[:100],
        sweep.read_bytes()[: -sweep.stat().st_size // 2],
    ):
        (tmp_path / "bad.h5").write_bytes(content)
        assert "not a readable HDF5 file" in refused(read, tmp_path / "bad.h5")


def test_other_programs_and_newer_formats(tmp_path: Path, sweep: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["loss"] = np.zeros(3)
    assert "not one that lsweep wrote" in refused(read, tmp_path / "other.h5")
    for version, expected in ((2, "update lsweep"), (0, "no valid"), ("1", "no valid"), ([1, 1], "no valid")):
        with h5py.File(sweep, "r+") as file:
            file.attrs["format_version"] = version
        assert expected in refused(read, sweep)


def replace(name: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def attribute(name: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def delete(*names: str) -> Change:
    def change(file: h5py.File) -> None:
        for name in names:
            del file[name]

    return change


def a_group_called_x(file: h5py.File) -> None:
    del file["x"]
    file.create_group("x")


def external_storage(file: h5py.File) -> None:
    del file["loss"]
    file.create_dataset("loss", (3, 5), "<f8", external=[("/etc/passwd", 0, 120)])


def virtual(file: h5py.File) -> None:
    del file["loss"]
    layout = h5py.VirtualLayout((3, 5), "<f8")
    layout[...] = h5py.VirtualSource("elsewhere.h5", "loss", shape=(3, 5))
    file.create_virtual_dataset("loss", layout)


def never_allocated(name: str, shape: tuple[int, ...], dtype: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, shape, dtype)

    return change


def huge_and_compressed(file: h5py.File) -> None:
    del file["x"]
    file.create_dataset("x", (10**12,), "<f8", chunks=(10**6,), compression="gzip")


def special(name: str, dtype: object, shape: tuple[int, ...] | None = ()) -> Change:
    """An attribute of another type."""

    def change(file: h5py.File) -> None:
        del file.attrs[name]
        if shape is None:
            file.attrs[name] = h5py.Empty(dtype)
        else:
            h5py.h5a.create(
                file.id,
                name.encode(),
                h5py.h5t.py_create(np.dtype(dtype), logical=True),
                h5py.h5s.create_simple(shape) if shape else h5py.h5s.create(h5py.h5s.SCALAR),
            )

    return change  # fmt: skip


def packed(file: h5py.File, **options: object) -> None:
    del file["loss"]
    file.create_dataset("loss", data=np.zeros((3, 5)), chunks=(3, 5), **options)


def virtual_axis_of_unknown_length(file: h5py.File) -> None:
    """To tell its shape, HDF5 would open every file that the name stands for."""
    space = h5py.h5s.create_simple((0,), (h5py.h5s.UNLIMITED,))
    space.select_hyperslab((0,), (h5py.h5s.UNLIMITED,), (1,), (1,))
    source = h5py.h5s.create_simple((1,))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, b"pipe%b", b"/x", source)
    del file["x"]
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, properties)


def add_hard_link_cycle(file: h5py.File) -> None:
    file["directions/again"] = file["/"]
    file["loss_again"] = file["directions"]


CHANGES: dict[str, tuple[Change, str | None]] = {
    "no axes": (delete("x", "y"), "axes none"),
    "no x": (delete("x"), "axes y; expected x"),
    "no loss": (delete("loss"), "'loss' is absent"),
    "no status": (delete("status"), "'status' is absent"),
    "axis of text": (replace("x", "abc"), "'x' has type object"),
    "axis of two dimensions": (replace("x", np.zeros((5, 1))), "'x' has shape (5, 1)"),
    "axis is a group": (a_group_called_x, "'x' is not a dataset"),
    "axis without a value": (replace("x", h5py.Empty("f")), "'x' has shape None"),
    "status of another shape": (replace("status", np.zeros((5, 3), "u1")), "has shape (5, 3), expected (3, 5)"),
    "status of floats": (replace("status", np.zeros((3, 5))), "expected kind 'u'"),
    "loss of another shape": (replace("loss", np.zeros((5, 3))), "'loss' has shape (5, 3), expected (3, 5)"),
    "loss is a soft link": (replace("loss", h5py.SoftLink("/accuracy")), "'loss' is a link to another place"),
    "x is a soft link": (replace("x", h5py.SoftLink("/y")), "'x' is a link to another place"),
    "x dangles": (replace("x", h5py.SoftLink("/nothing")), "'x' is a link to another place"),
    "status is external": (replace("status", h5py.ExternalLink("pipe", "/x")), "is a link to another place"),
    "loss is external": (replace("loss", h5py.ExternalLink("pipe", "/x")), "'loss' is a link to another place"),
    "sessions are external": (replace("sessions", h5py.ExternalLink("pipe", "/x")), "is a link to another place"),
    "loss in another file": (external_storage, "keeps its data in another file"),
    "loss is virtual": (virtual, "keeps its data in another file"),
    "gigantic axis": (never_allocated("x", (10**9,), "<f8"), "more than the file contains"),
    "gigantic chunked axis": (huge_and_compressed, "more than the file contains"),
    "no provenance": (attribute("provenance", "{"), "'provenance' is not JSON"),
    "provenance is a list": (attribute("provenance", "[1]"), "'provenance' is not JSON"),
    "provenance is deep": (attribute("provenance", "[" * 30000), "'provenance' is not JSON"),
    "metrics are a number": (attribute("metrics", "3"), "'metrics' is not JSON"),
    "config is a number": (attribute("config", 10**12), "'config' is not text"),
    "config is an array": (attribute("config", np.zeros(3)), "'config' is not text"),
    "format is an array": (attribute("format", ["lsweep", "lsweep"]), "'format' is not text"),
    "axis of nothing": (replace("x", np.zeros(0)), "must be finite and increasing"),
    "axis with a NaN": (replace("x", np.array([0, 1, np.nan, 3, 4])), "must be finite and increasing"),
    "axis that falls": (replace("x", np.arange(5.0)[::-1]), "must be finite and increasing"),
    "virtual axis of unknown length": (virtual_axis_of_unknown_length, "keeps its data in another file"),
    "metric called x": (attribute("metrics", '["x"]'), "metrics with invalid names"),
    "metric with an escape": (attribute("metrics", r'["\u001b[31m"]'), "metrics with invalid names"),
    "metric that is absent": (attribute("metrics", '["loss", "f1"]'), "'f1' is absent"),
    "provenance is nested": (attribute("provenance", '{"a":' * 99 + "1" + "}" * 99), "'provenance' is not JSON"),
    "provenance has a long number": (attribute("provenance", "9" * 5000), "'provenance' is not JSON"),
    "config is a compound": (special("config", [("a", "S9")]), "'config' is not text"),
    "config is a reference": (special("config", h5py.ref_dtype), "'config' is not text"),
    "config is of variable length": (special("config", h5py.vlen_dtype("u1")), "'config' is not text"),
    "config is of many texts": (special("config", "S1", (8000, 7)), "'config' is not text"),
    "format_version is a float": (special("format_version", "f8"), "no valid format_version"),
    "format_version is an enum": (special("format_version", h5py.enum_dtype({"a": 1})), "no valid format_version"),
    "loss by scale and offset": (lambda f: packed(f, scaleoffset=3), "filters [6]"),
    "loss compressed to nothing": (lambda f: packed(f, compression="gzip"), None),
    "config is empty": (attribute("config", h5py.Empty("S10")), "'config' is not text"),
}  # fmt: skip


@pytest.mark.timeout(60)  # opening a pipe would hang
@pytest.mark.parametrize("name", CHANGES)
def test_damaged_or_hostile(name: str, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, expected = CHANGES[name]
    os.mkfifo(sweep.parent / "pipe")
    monkeypatch.chdir(sweep.parent)
    with h5py.File(sweep, "r+") as file:
        change(file)
    if expected is None:
        assert read(sweep, trusted=True).complete
    else:
        assert expected in refused(read, sweep)


def test_a_compression_bomb(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "FREE_BYTES", 1000)
    with h5py.File(sweep, "r+") as file:
        del file["x"]
        file.create_dataset("x", data=np.zeros(100_000), chunks=(100_000,), compression="gzip")
    assert "declares (100000,) values, more than the file contains" in refused(read, sweep)


def test_a_length_beyond_the_end_of_the_file(sweep: Path) -> None:
    """Contiguous data "take" what they declare, wherever the file ends."""
    with h5py.File(sweep) as file:
        place = file["x"].id.get_offset()
    content = sweep.read_bytes()
    # The layout message of x: version 3, contiguous, its address and size; before it the extent, twice.
    layout = bytes([3, 1]) + place.to_bytes(8, "little") + (40).to_bytes(8, "little")
    long = layout[:-8] + (8 << 30).to_bytes(8, "little")
    extent = (5).to_bytes(8, "little") * 2
    assert content.count(layout) == 1
    start = content.rindex(extent, 0, content.index(layout))
    changed = content[:start] + (1 << 30).to_bytes(8, "little") * 2 + content[start + 16 :]
    sweep.write_bytes(changed.replace(layout, long))
    assert "'x' declares (1073741824,) values, more than the file contains" in refused(read, sweep)


def test_ten_thousand_links_in_circles(sweep: Path) -> None:
    with h5py.File(sweep, "r+") as file:
        group = file["directions"]
        for index in range(10_000):
            group.id.links.create_hard(f"{index}".encode(), file.id, b"/")
            file.id.links.create_soft(f"s{index}".encode(), b"/directions")
    assert read(sweep, trusted=True).complete
    assert read_directions(sweep, trusted=True)["recipe"] == {}
    with h5py.File(sweep, "r+") as file:
        file["xdirection"] = file["directions"]
    assert "'0' is not a dataset" in refused(read_direction_file, sweep)


def test_sessions_that_cannot_be_true_are_left_out(sweep: Path) -> None:
    with h5py.File(sweep, "r+") as file:
        rows = file["sessions/table"][...]
        for index, (start, stop) in enumerate(
            [(np.inf, 1), (1e300, 1), (1, np.nan), (np.nan, 1), (-1, 1), (9, 1e18)]
        ):
            rows[index + 1]["start"], rows[index + 1]["stop"] = start, stop
        rows[9]["start"], rows[9]["stop"], rows[9]["job"] = 5.0, 6.0, b"\xff\x1b[31m"
        file["sessions/table"][...] = rows
    surface = read(sweep, trusted=True)
    assert [s["job"] for s in surface.sessions] == ["\ufffd\x1b[31m", "1"]
    assert "job \ufffd\\x1b[31m)" in describe(surface)


def test_what_is_besides_the_schema_does_no_harm(sweep: Path) -> None:
    with h5py.File(sweep, "r+") as file:
        add_hard_link_cycle(file)
        file["notes"] = "mine"
        file["extra"] = np.full((3, 5), 2.0)
        file["elsewhere"] = h5py.ExternalLink("/dev/stdin", "/x")
        del file["sessions"]
    surface = read(sweep)
    assert list(surface.metrics) == ["loss", "accuracy", "loss_test", "extra"]
    assert surface.sessions == ()
    assert surface.loss[2, 4] == 14.25


def test_only_done_points_are_trusted(sweep: Path) -> None:
    with h5py.File(sweep, "r+") as file:
        file["status"][0] = [0, 1, 2, 3, 200]
    surface = read(sweep)
    np.testing.assert_array_equal(surface.loss[0], [np.nan, 1.25, np.nan, np.nan, np.nan])
    assert surface.rank[0].tolist() == [-1, 3, -1, -1, -1]


def test_readers_take_no_lock(sweep: Path) -> None:
    with open(sweep, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read(sweep).loss[0, 0] == 0.25


def test_identity_and_directions_of_damaged_files(sweep: Path) -> None:
    for name, value in (("identity", "3"), ("identity", 7), ("metrics", '{"a": 1}')):
        with h5py.File(sweep, "r+") as file:
            before = file.attrs[name]
            file.attrs[name] = value
        assert repr(name) in refused(read_identity, sweep)
        with h5py.File(sweep, "r+") as file:
            file.attrs[name] = before
    with h5py.File(sweep, "r+") as file:
        file["directions"].attrs["recipe"] = np.zeros(2)
    assert "'recipe' is not text" in refused(read_directions, sweep)
    with h5py.File(sweep, "r+") as file:
        del file["directions"]
        file["directions"] = h5py.ExternalLink("absent.h5", "/")
    assert "no group 'directions'" in refused(read_directions, sweep)


# Direction files ---------------------------------------------------------------------------------------


def test_both_forms_of_direction_files(tmp_path: Path, sweep: Path) -> None:
    ours, theirs = tmp_path / "ours.h5", tmp_path / "theirs.h5"
    tensors = [np.full((2, 3), 0.5, "<f4"), np.float32(3), *(np.float32(i) for i in range(2, 12))]
    for path, names in ((ours, ("directions/x", "directions/y")), (theirs, ("xdirection", "ydirection"))):
        with h5py.File(path, "w") as file:
            for name in names:
                for index, tensor in enumerate(tensors):
                    file[f"{name}/{index}"] = tensor
        found = read_direction_file(path)
        assert list(found) == ["x", "y"]
        assert [a.shape for a in found["y"]] == [(2, 3)] + [()] * 11  # "10" comes after "9"
        assert [float(a.reshape(-1)[0]) for a in found["x"]][1:] == [3, *range(2, 12)]
    assert "contains the recipe" in refused(read_direction_file, sweep)


def group(**datasets: object) -> Change:
    def change(file: h5py.File) -> None:
        for name, value in datasets.items():
            file[f"xdirection/{name.removeprefix('n')}"] = value

    return change


DIRECTIONS: dict[str, tuple[Change, str]] = {
    "nothing": (lambda file: None, "holds no directions"),
    "empty": (lambda file: file.create_group("xdirection") and None, "without a gap"),
    "gap": (group(n0=1.0, n2=1.0), "without a gap"),
    "from one": (group(n1=1.0, n2=1.0), "without a gap"),
    "wrong name": (group(n0=1.0, weight=1.0), "without a gap"),
    "leading zero": (group(n00=1.0), "without a gap"),
    "digits of other scripts": (group(**{"0": 1.0, "١": 1.0}), "without a gap"),
    "text": (group(n0="abc"), "has type object"),
    "complex": (group(n0=1j), "has type complex128"),
    "group": (lambda file: file.create_group("xdirection/0") and None, "is not a dataset"),
    "soft link": (group(n0=h5py.SoftLink("/xdirection")), "is a link to another place"),
    "external link": (group(n0=h5py.ExternalLink("pipe", "/x")), "is a link to another place"),
    "external group": (lambda f: f.__setitem__("xdirection", h5py.ExternalLink("pipe", "/")),
                       "holds no directions"),
    "gigantic": (lambda f: f.create_dataset("xdirection/0", (10**9,), "<f4") and None, "more than the file contains"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", DIRECTIONS)
def test_bad_direction_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, expected = DIRECTIONS[name]
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with h5py.File("d.h5", "w") as file:
        change(file)
    assert expected in refused(read_direction_file, Path("d.h5"))


def test_compressed_directions_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("xdirection/0", data=np.zeros((1000, 100)), compression="gzip", chunks=True)
        file["xdirection/1"] = np.zeros((0, 3))
    assert [a.shape for a in read_direction_file(tmp_path / "d.h5")["x"]] == [(1000, 100), (0, 3)]


def test_checked_follows_no_link_in_the_middle_of_a_path(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inside/data"] = np.zeros(3)
        file["outside"] = h5py.SoftLink("/inside")
        assert validation.checked(file, "inside/data").shape == (3,)
        with pytest.raises(FileFormatError, match="link to another place"):
            validation.checked(file, "outside/data")
        with pytest.raises(FileFormatError, match="is absent"):
            validation.checked(file, "inside/other")
