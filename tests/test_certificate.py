"""Certificates: the sample, the errors, the words, and the group in the file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from store_contract import GRIDS, Place, close, results

from lsweep.certificate import Certificate, Kind, draw
from lsweep.comm import SerialComm
from lsweep.errors import FileFormatError, InputError, LockError
from lsweep.store import certificate as group
from lsweep.store.reader import read
from lsweep.watch.status import describe

NAN, INF = float("nan"), float("inf")


def certificate(full: list[float], stored: list[float], kinds: list[int] | None = None) -> Certificate:
    count = len(full)
    return Certificate(
        points=np.arange(count)[::-1],
        kinds=np.array(kinds or [0] * count, dtype=np.uint8),
        full={"loss": np.array(full), "accuracy": np.linspace(0, 1, count)},
        stored={"loss": np.array(stored), "accuracy": np.linspace(0, 0.5, count)},
        wanted=count,
        populations={Kind.EVALUATED: 12, Kind.INTERPOLATED: 0},
        seed=4,
        precision="fp32",
        provenance={"commit": "abc"},
    )


def test_a_larger_sample_begins_with_a_smaller_one() -> None:
    members = np.zeros(1000, dtype=bool)
    members[200:900:3] = True
    samples = [draw(members, count, seed=7) for count in (5, 50, 10_000)]
    assert samples[2][:5].tolist() == samples[0].tolist() and samples[2][:50].tolist() == samples[1].tolist()
    assert sorted(samples[2]) == np.flatnonzero(members).tolist()
    assert draw(members, 50, seed=8).tolist() != samples[1].tolist()
    # What has become a member since takes its place in the order, and moves no other.
    more = draw(np.ones(1000, dtype=bool), 1000, seed=7)
    assert [p for p in more if members[p]] == samples[2].tolist()


def test_the_order_is_the_same_in_every_version_of_numpy() -> None:
    assert draw(np.ones(10, dtype=bool), 10, seed=0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


def test_every_point_is_as_likely() -> None:
    hits = sum(np.bincount(draw(np.ones(20, dtype=bool), 5, seed), minlength=20) for seed in range(2000))
    np.testing.assert_allclose(hits, 500, atol=5 * np.sqrt(2000 * 0.25 * 0.75))


ERRORS = [  # full, stored, absolute, relative
    (2.0, 2.5, 0.5, 0.25),
    (-2.0, -1.0, 1.0, 0.5),
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 0.5, 0.5, INF),
    (NAN, NAN, 0.0, 0.0),
    (NAN, 1.0, INF, INF),
    (1.0, NAN, INF, INF),
    (INF, INF, 0.0, 0.0),
    (INF, 1.0, INF, INF),
    (1.0, INF, INF, INF),
    (INF, -INF, INF, INF),
]


@pytest.mark.parametrize(("full", "stored", "absolute", "relative"), ERRORS)
def test_errors(full: float, stored: float, absolute: float, relative: float) -> None:
    made = certificate([full], [stored])
    assert made.absolute_error("loss").tolist() == [absolute]
    assert made.relative_error("loss").tolist() == [relative]


def test_the_95_per_cent_are_of_the_sample_itself() -> None:
    for count in (1, 2, 19, 20, 21, 40, 59, 200):
        errors = np.random.default_rng(count).permutation(np.arange(1, count + 1)) / 1024  # exact in binary
        spread = certificate([1.0] * count, (1.0 + errors).tolist()).spread("loss", Kind.EVALUATED)
        assert spread is not None and spread.count == count
        assert spread.median == np.median(errors) and spread.largest == errors.max()
        # The least error that 95 % of the points do not exceed.
        assert (errors <= spread.most).mean() >= 0.95 > (errors < spread.most).mean()
    assert certificate([1.0], [1.0]).spread("loss", Kind.INTERPOLATED) is None


def test_infinite_errors_leave_the_median_alone() -> None:
    spread = certificate([1.0, 1.0, NAN], [1.25, 1.5, 0.0]).spread("loss", Kind.EVALUATED)
    assert str(spread) == "median 50 %, 95 % within infinite, largest infinite"


def test_in_words() -> None:
    made = certificate([1.0, 2.0, 4.0], [1.001, 2.0, 4.5], [0, 0, 1])
    assert made.lines() == [
        "2 of 12 evaluated points: median 0.05 %, 95 % within 0.1 %, largest 0.1 %; "
        "1 of 0 interpolated points: median 12 %, 95 % within 12 %, largest 12 %"
    ]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A 3 × 5 sweep, all done."""
    store = Place("gather", SerialComm(), tmp_path).open(GRIDS["plane"])
    store.put(results(list(range(15))))
    close(store)
    return tmp_path / "sweep.h5"


MADE = certificate([1.0, 2.0, NAN, 0.0], [1.5, 2.0, NAN, 0.25], [0, 0, 0, 1])


def same(a: Certificate | None, b: Certificate) -> None:
    assert a is not None
    for name, value in vars(b).items():
        np.testing.assert_equal(getattr(a, name), value, err_msg=name)


def test_it_comes_back_and_the_sweep_is_as_it_was(sweep: Path) -> None:
    before = read(sweep)
    with h5py.File(sweep) as file:
        places = {name: file[name].id.get_offset() for name in ("loss", "status", "sessions/table")}
    assert before.certificate is None
    group.write(sweep, MADE)
    after = read(sweep)
    same(after.certificate, MADE)
    assert after.loss.tobytes() == before.loss.tobytes() and after.status.tobytes() == before.status.tobytes()
    # Whoever goes on with the sweep finds every dataset where it was.
    with h5py.File(sweep) as file:
        assert {name: file[name].id.get_offset() for name in places} == places
        attributes = dict(file["certificate"].attrs)
        np.testing.assert_array_equal(file["certificate/relative_error/loss"][...], [0.5, 0.0, 0.0, INF])
        np.testing.assert_array_equal(file["certificate/absolute_error/accuracy"][:2], [0.0, 0.5 / 3])
    assert attributes["loss_evaluated_median"] == 0.0 and attributes["loss_evaluated_95"] == 0.5
    assert attributes["loss_interpolated_largest"] == INF and attributes["population_evaluated"] == 12
    assert "  certified 3 of 12 evaluated points: median 0 %" in describe(after)


def test_a_new_one_takes_the_place_of_the_old_one(sweep: Path) -> None:
    group.write(sweep, MADE)
    size = sweep.stat().st_size
    other = certificate([1.0], [1.0])
    for _ in range(20):
        group.write(sweep, other)
    same(read(sweep).certificate, other)
    assert sweep.stat().st_size < size + 20 * 8192


def test_a_sweep_goes_on_after_it(tmp_path: Path) -> None:
    place = Place("gather", SerialComm(), tmp_path)
    store = place.open(GRIDS["plane"])
    store.put(results([1, 2]))
    close(store)
    group.write(tmp_path / "sweep.h5", MADE)
    store = place.open(GRIDS["plane"])
    assert store.status.tolist() == [0, 1, 1, *[0] * 12]
    store.put(results([0, *range(3, 15)]))
    surface = close(store)
    np.testing.assert_array_equal(surface.loss.reshape(-1), np.arange(15) + 0.25)
    same(surface.certificate, MADE)


def test_who_may_read_the_file_is_as_before_and_a_link_stays_one(sweep: Path, tmp_path: Path) -> None:
    sweep.chmod(0o640)
    (tmp_path / "link.h5").symlink_to(sweep.name)
    group.write(tmp_path / "link.h5", MADE)
    assert (tmp_path / "link.h5").is_symlink()
    assert stat.S_IMODE(sweep.stat().st_mode) == 0o640
    same(read(sweep).certificate, MADE)


def test_a_lost_lock_and_a_full_disk_leave_the_file_alone(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sweep.read_bytes()

    def lost() -> None:
        raise LockError("another run took over")

    with pytest.raises(LockError):
        group.write(sweep, MADE, lost)

    def full(path: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(group, "fsync_path", full)
    with pytest.raises(InputError, match="No space left on device; the file is unchanged"):
        group.write(sweep, MADE)
    assert sweep.read_bytes() == before
    assert [path.name for path in sweep.parent.iterdir()] == ["sweep.h5"]


def drop(name: str) -> Callable[[h5py.Group], None]:
    return lambda certificate: certificate.__delitem__(name)


def put(name: str, value: Any) -> Callable[[h5py.Group], None]:
    def change(certificate: h5py.Group) -> None:
        if name in certificate:
            del certificate[name]
        certificate[name] = value

    return change


def note(name: str, value: Any) -> Callable[[h5py.Group], None]:
    return lambda certificate: certificate.attrs.__setitem__(name, value)


DAMAGE = {
    "a point outside of the grid": put("points", [0, 1, 2, 15]),
    "a negative point": put("points", [0, 1, 2, -1]),
    "points that are no integers": put("points", [0.0, 1.0, 2.0, 3.0]),
    "more kinds than points": put("kind", [0] * 5),
    "an unknown kind": put("kind", [0, 0, 0, 2]),
    "no kinds": drop("kind"),
    "no full losses": drop("full"),
    "losses elsewhere": put("full/loss", h5py.ExternalLink("other.h5", "loss")),
    "too few losses": put("file/loss", [1.0]),
    "metrics that are no list": note("metrics", "{}"),
    "a metric that is a path": note("metrics", '["../loss"]'),
    "no seed": note("seed", "zero"),
    "a negative population": note("population_evaluated", -1),
    "provenance that is no JSON": note("provenance", "{"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_refused(damage: str, sweep: Path) -> None:
    group.write(sweep, MADE)
    with h5py.File(sweep, "r+") as file:
        DAMAGE[damage](file["certificate"])
    with pytest.raises(FileFormatError) as caught:
        read(sweep, trusted=True)
    assert "\n" not in str(caught.value)


def test_something_else_of_that_name(sweep: Path) -> None:
    with h5py.File(sweep, "r+") as file:
        file.create_group("certificate")
    assert read(sweep, trusted=True).certificate is None
    with h5py.File(sweep, "r+") as file:
        del file["certificate"]
        file["certificate"] = h5py.ExternalLink("other.h5", "/")
    assert read(sweep, trusted=True).certificate is None
    group.write(sweep, MADE)
    same(read(sweep, trusted=True).certificate, MADE)
    with h5py.File(sweep, "r+") as file:
        del file["certificate"]
        file["certificate"] = np.zeros(3)
    with pytest.raises(FileFormatError):
        read(sweep, trusted=True)
