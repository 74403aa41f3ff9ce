"""A sweep's file held against itself: what no sweep writes is found, what a sweep may leave is told from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import project
import pytest

from lsweep import cli
from lsweep.errors import FileFormatError
from lsweep.store import audit, probe
from lsweep.store.audit import AuditResult
from lsweep.surface import Status

SETTINGS = ("grid.x.num=25", "grid.y.num=25", "grid.refine.tolerance=0.1")
REFINED = [word for pair in SETTINGS for word in ("--set", pair)]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refined sweep with a certificate of six points of each kind."""
    folder = tmp_path_factory.mktemp("swept")
    project.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["sweep", "sweep.toml", "--quiet", *REFINED]) == 0
        assert cli.main(["certify", "sweep.toml", "--quiet", "--points", "6", *REFINED]) == 0
    return folder


@pytest.fixture
def copy(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(swept / "out" / "sweep.h5", tmp_path))


def places(file: h5py.File, status: Status) -> list[tuple[int, ...]]:
    return [tuple(place) for place in np.argwhere(file["status"][...] == status)]


def test_a_sweep_s_own_file_agrees_with_itself(copy: Path) -> None:
    with h5py.File(copy) as file:
        assert len(places(file, Status.SETTLED)) > 6
    assert audit.points(copy, trusted=True) == AuditResult() == audit.certified(copy, trusted=True)


def test_no_certificate_is_no_fault(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        del file["certificate"]
    assert audit.certified(copy, trusted=True) is None


def unknown_status(file: h5py.File) -> None:
    file["status"][0, 0] = 9


def settled_at_the_corner(file: h5py.File) -> None:
    file["status"][0, 0] = Status.SETTLED


def not_refined(file: h5py.File) -> None:
    file.attrs["identity"] = "{}"


POINTS: dict[Callable[[h5py.File], None], str] = {
    unknown_status: "1 points have a status other than 0 to 3",
    settled_at_the_corner: "1 points are settled on the coarse grid",
    not_refined: "are settled, but the sweep is not refined",
}


@pytest.mark.parametrize("spoil", POINTS)
def test_points_that_no_sweep_writes(spoil: Callable[[h5py.File], None], copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        spoil(file)
    [said] = audit.points(copy, trusted=True).wrong
    assert POINTS[spoil] in said


@pytest.mark.parametrize(
    ("column", "value"), [("loss", 0.5), ("accuracy", 1.0), ("seconds", 0.1), ("rank", 0), ("batch_size", 7)]
)
def test_a_settled_point_with_a_value(column: str, value: float, copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file[column][places(file, Status.SETTLED)[3]] = value
    verdict = audit.points(copy, trusted=True)
    assert verdict.wrong == ()
    assert verdict.loose == ("1 points are settled but have values, as after a kill during a write",)


def test_settled_points_with_nothing_around_them(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file["loss"][...] = np.nan
    [said] = audit.points(copy, trusted=True).loose
    assert said.endswith("points are settled, but have no neighbours to interpolate from")


def test_a_status_of_another_shape(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        del file["status"]
        file["status"] = np.ones((25, 24), dtype=np.uint8)
    for look in (audit.points, audit.certified):
        with pytest.raises(FileFormatError, match="has shape"):
            look(copy, trusted=True)


def another_point(group: h5py.Group) -> None:
    with_status = group.file["status"][...].reshape(-1)
    group["points"][0] = np.flatnonzero(with_status == Status.SETTLED)[0]


def another_evaluated_point(group: h5py.Group) -> None:
    free = np.setdiff1d(np.flatnonzero(group.file["status"][...].reshape(-1) == Status.DONE), group["points"])
    group["points"][0] = free[0]


def twice(group: h5py.Group) -> None:
    group["points"][1] = group["points"][0]


def too_many(group: h5py.Group) -> None:
    group.attrs["wanted"] = 5


def another_seed(group: h5py.Group) -> None:
    group.attrs["seed"] = 1


def another_value(group: h5py.Group) -> None:
    group["file/loss"][0] *= 1 + 1e-12


def another_interpolation(group: h5py.Group) -> None:
    group["file/loss"][-1] *= 1 + 1e-6


def another_truth(group: h5py.Group) -> None:
    group["full/loss"][-1] *= 2


def another_error(group: h5py.Group) -> None:
    group["relative_error/loss"][-1] = 0


def another_summary(group: h5py.Group) -> None:
    group.attrs["loss_interpolated_largest"] = 0.0


def no_error(group: h5py.Group) -> None:
    del group["absolute_error/accuracy"]


def fewer_errors(group: h5py.Group) -> None:
    del group["absolute_error/accuracy"]
    group["absolute_error/accuracy"] = np.zeros(3)


def another_precision(group: h5py.Group) -> None:
    group.attrs["precision"] = "fp64"


CERTIFICATES: dict[Callable[[h5py.Group], None], str] = {
    another_point: "1 of its evaluated points are not evaluated",
    another_evaluated_point: "its evaluated points are not those that its seed draws",
    twice: "its points are not in order or contain duplicates",
    too_many: "it has more evaluated points than were requested",
    another_seed: "its interpolated points are not those that its seed draws",
    another_value: "'loss' differs from the file's values at its points",
    another_interpolation: "'loss' differs from the file's values at its points",
    another_truth: "'absolute_error/loss' does not agree with its values",
    another_error: "'relative_error/loss' does not agree with its values",
    another_summary: "'loss_interpolated_largest' does not agree with its values",
    no_error: "'absolute_error/accuracy' is absent",
    fewer_errors: "'absolute_error/accuracy' has shape (3,), expected (12,)",
    another_precision: "its precision is fp64",
}


@pytest.mark.parametrize("spoil", CERTIFICATES)
def test_a_certificate_that_is_not_of_this_file(spoil: Callable[[h5py.Group], None], copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        spoil(file["certificate"])
    verdict = audit.certified(copy, trusted=True)
    assert verdict is not None and verdict.loose == ()
    assert any(CERTIFICATES[spoil] in said for said in verdict.wrong), verdict.wrong


def test_a_certificate_that_is_older_than_the_sweep(copy: Path) -> None:
    """As `--complete` leaves it: an interpolated point of it is evaluated now, and lies elsewhere."""
    with h5py.File(copy, "r+") as file:
        place = np.unravel_index(file["certificate/points"][-1], file["status"].shape)
        file["loss"][place], file["status"][place] = 7.0, Status.DONE
    assert audit.certified(copy, trusted=True) == AuditResult(
        (), ("it was made before the sweep was resumed",)
    )
    assert audit.points(copy, trusted=True) == AuditResult()


@pytest.mark.slow
def test_a_sweep_that_went_on(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some settled points are evaluated after all: nothing is wrong, and certifying again brings it up to date."""
    shutil.copytree(swept, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    output = Path("out/sweep.h5")
    assert cli.main(["sweep", "sweep.toml", "--quiet", "--complete", "--max-points", "9", *REFINED]) == 75
    assert audit.points(output, trusted=True) == AuditResult()
    assert audit.certified(output, trusted=True) == AuditResult(
        (), ("it was made before the sweep was resumed",)
    )
    assert cli.main(["certify", "sweep.toml", "--quiet", *REFINED]) == 0
    assert audit.certified(output, trusted=True) == AuditResult()


@pytest.mark.parametrize("look", [audit.points, audit.certified])
def test_a_child_process_looks_first(
    look: Callable[[Path], object], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(probe, "_ask", lambda path, names, size: asked.extend(names))
    look(copy)
    assert asked == [f"lsweep.store.audit:{look.__name__}"]


@pytest.mark.slow
def test_the_command(swept: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(swept)
    assert cli.main(["check", "sweep.toml", *REFINED]) == 0
    said = capfd.readouterr().out
    assert "ok    points    every status is valid, and settled points have no values" in said
    assert "ok    certified the certificate agrees with the file" in said
    whole = Path("out/sweep.h5").read_bytes()
    with h5py.File("out/sweep.h5", "r+") as file:
        another_error(file["certificate"])
        file["loss"][places(file, Status.SETTLED)[0]] = 1.0
    assert cli.main(["check", "sweep.toml", *REFINED]) == 2
    said = capfd.readouterr().out
    assert "warn  points    1 points are settled but have values" in said
    assert "fail  certified 'relative_error/loss' does not agree with its values" in said
    Path("out/sweep.h5").write_bytes(whole)
