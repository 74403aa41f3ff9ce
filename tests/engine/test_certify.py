"""`lsweep certify` against sweeps of every point in fp32, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import project
import pytest
import torch

from lsweep import cli
from lsweep.certificate import Certificate, Kind
from lsweep.engine import loop
from lsweep.engine.session_monitor import Outcome
from lsweep.errors import InputError
from lsweep.store import certificate as group
from lsweep.store.reader import read
from lsweep.surface import Status, Surface
from lsweep.tools import lock
from lsweep.tools.lock import acquire

OUTPUT, WORKING = Path("out/sweep.h5"), Path("out/sweep.h5.certificate")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lsweep(verb: str, *arguments: str, quiet: bool = True) -> int:
    return cli.main([verb, "sweep.toml", *(["--quiet"] if quiet else []), *arguments])


def sets(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


def certified(path: Path = OUTPUT) -> Certificate:
    found = read(path).certificate
    assert found is not None
    return found


def bits(made: Certificate) -> tuple[bytes, ...]:
    return (
        made.points.tobytes(),
        made.kinds.tobytes(),
        *(v[name].tobytes() for v in (made.full, made.stored) for name in v),
    )


def refuse(*arguments: object) -> None:
    raise AssertionError("a point is evaluated")


def no_room(*arguments: object) -> None:
    raise InputError("no room")


def of_every_point(*settings: str) -> Surface:
    """A sweep of the same plane, every point with all examples in fp32."""
    assert lsweep("sweep", *sets(*settings, "output=out/full.h5")) == 0
    return read("out/full.h5")


def agrees(made: Certificate, swept: Surface, full: Surface) -> None:
    """The certificate says of its points what the two surfaces say."""
    for name in made.full:
        truth = full.metrics[name].reshape(-1)[made.points]
        ours = swept.filled(name).reshape(-1)[made.points]
        assert made.full[name].tobytes() == truth.tobytes()
        assert made.stored[name].tobytes() == ours.tobytes()
        np.testing.assert_array_equal(made.absolute_error(name), np.abs(ours - truth))
        if name in made.losses:
            np.testing.assert_allclose(made.relative_error(name), np.abs(ours - truth) / truth, rtol=1e-14)


@pytest.mark.slow
def test_an_exact_sweep_is_exact(here: Path) -> None:
    assert lsweep("sweep") == 0
    before = read(OUTPUT)
    assert lsweep("certify", "--points", "6") == 0
    after, made = read(OUTPUT), certified()
    assert len(made) == 6 and len(set(made.points)) == 6 and (made.kinds == Kind.EVALUATED).all()
    assert (made.relative_error("loss") == 0).all() and (made.absolute_error("accuracy") == 0).all()
    assert made.populations == {Kind.EVALUATED: 15, Kind.INTERPOLATED: 0} and made.missing == 0
    assert made.precision == "fp32" and "torch" in made.provenance["packages"]
    assert after.loss.tobytes() == before.loss.tobytes() and after.sessions == before.sessions
    assert sorted(path.name for path in OUTPUT.parent.iterdir()) == ["sweep.h5"]


BF16 = ("evaluate.precision=bf16", "evaluate.tolerance=0.05")
SUBSET = ("evaluate.relative_error=0.3",)
FINE = ("grid.x.num=25", "grid.y.num=25")
REFINED = ("grid.refine.tolerance=0.1",)
BOTH = ('data.split=["train","test"]', "data.test_path=test.npz")


@pytest.mark.slow
@pytest.mark.parametrize("savings", [BF16, SUBSET], ids=["bf16", "subset"])
def test_errors_of_evaluated_points(savings: tuple[str, ...], here: Path) -> None:
    project.write_npz(here / "train.npz", images=1500)
    assert lsweep("sweep", *sets(*savings)) == 0
    assert lsweep("certify", "--points", "8", *sets(*savings)) == 0
    made = certified()
    assert len(made) == 8 and 0 < made.relative_error("loss").max() < 0.3
    assert list(made.full) == ["loss", "accuracy"]
    agrees(made, read(OUTPUT), of_every_point())


@pytest.mark.slow
def test_errors_of_interpolated_points_apart(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all the savings at once, and two splits."""
    project.write_npz(here / "train.npz", images=1500)
    settings = (*BF16, *SUBSET, *FINE, *REFINED, *BOTH)
    assert lsweep("sweep", *sets(*settings)) == 0
    assert lsweep("certify", "--points", "30", *sets(*settings)) == 0
    swept, made = read(OUTPUT), certified()
    assert made.kinds.tolist() == [0] * 30 + [1] * 30 and made.losses == ("loss", "loss_test")
    assert (swept.status.reshape(-1)[made.points[:30]] == Status.DONE).all()
    assert (swept.status.reshape(-1)[made.points[30:]] == Status.SETTLED).all()
    assert made.populations == dict(
        zip(Kind, (swept.count(Status.DONE), swept.count(Status.SETTLED)), strict=True)
    )
    agrees(made, swept, of_every_point(*FINE, *BOTH))
    # The points that refinement left are evaluated after all: what is known of them in full is not lost.
    assert lsweep("sweep", "--complete", *sets(*settings)) == 0
    # The first 30 of both kinds together are among the first 30 of each.
    monkeypatch.setattr(loop, "_evaluate", refuse)
    assert lsweep("certify", *sets(*settings)) == 0
    agrees(certified(), read(OUTPUT), read("out/full.h5"))
    assert len(certified()) == 30 and (certified().kinds == Kind.EVALUATED).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "precision", "most"),
    [
        (["evaluate.precision=fp64"], "fp64", 0.0),
        (["evaluate.points_at_once=5"], "fp32", 1e-6),
        (['evaluate.metrics=["hessian"]'], "fp32", 0.0),
        (["directions.kind=hessian"], "fp32", 0.0),
    ],
)
def test_other_sweeps(settings: list[str], precision: str, most: float, here: Path) -> None:
    assert lsweep("sweep", *sets(*settings)) == 0
    assert lsweep("certify", *sets(*settings)) == 0
    made = certified()
    assert len(made) == 15 and made.precision == precision and list(made.full) == ["loss", "accuracy"]
    assert made.relative_error("loss").max() <= most


@pytest.mark.slow
def test_stopped_and_gone_on_with(here: Path) -> None:
    assert lsweep("sweep", *sets("output=out/one.h5")) == 0 == lsweep("sweep")
    assert lsweep("certify", "--points", "9", *sets("output=out/one.h5")) == 0
    assert lsweep("certify", "--points", "4") == 0
    assert len(certified()) == 4
    # Four are there already: of five more two are done in one session, three in the next.
    assert lsweep("certify", "--points", "9", "--max-points", "2") == 75
    assert len(certified()) == 6 and certified().missing == 3 and not WORKING.exists()
    assert lsweep("certify", "--max-points", "3") == 0
    assert bits(certified()) == bits(certified(Path("out/one.h5")))
    before = OUTPUT.read_bytes()
    assert lsweep("certify", "--points", "2") == 0 == lsweep("certify")
    assert OUTPUT.read_bytes() == before
    assert lsweep("certify", "--points", "3", "--seed", "1") == 0
    assert len(certified()) == 3 and certified().seed == 1


@pytest.mark.slow
def test_without_room_nothing_is_lost(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert lsweep("sweep") == 0
    before = OUTPUT.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(group, "write", no_room)
        assert lsweep("certify", "--points", "6") == 2
    assert capfd.readouterr().err == "lsweep: error: no room\n"
    assert OUTPUT.read_bytes() == before and read(WORKING).count(Status.DONE) == 6
    (OUTPUT.parent / ".sweep.h5.abcd1234.tmp").write_bytes(b"half a copy, as a kill leaves it")
    # What is in the working file need not be evaluated again.
    monkeypatch.setattr(loop, "_evaluate", refuse)
    assert lsweep("certify", "--points", "6") == 0
    assert len(certified()) == 6
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["sweep.h5"]


@pytest.mark.slow
def test_a_partial_sweep(here: Path) -> None:
    assert lsweep("sweep", "--max-points", "4") == 75
    assert lsweep("certify") == 0
    assert len(certified()) == 4 and certified().populations[Kind.EVALUATED] == 4
    assert lsweep("sweep") == 0
    assert lsweep("certify", "--max-points", "11") == 0
    assert len(certified()) == 15 and certified().populations[Kind.EVALUATED] == 15


@pytest.mark.slow
def test_a_sweep_that_ends_with_its_certificate(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ending = sets("evaluate.certificate=5")
    assert lsweep("sweep", *ending, "--max-points", "15") == 75
    assert read(OUTPUT).complete and read(OUTPUT).certificate is None
    assert lsweep("sweep", *ending, "--max-points", "2") == 75
    assert len(certified()) == 2
    assert lsweep("sweep", *ending, quiet=False) == 0
    said = capfd.readouterr().err
    assert (
        "out/sweep.h5: certificate: 5 of 15 evaluated points: median 0 %, 95 % within 0 %, largest 0 %"
        in said
    )
    before = OUTPUT.read_bytes()
    assert lsweep("sweep", *ending) == 0 == lsweep("certify", *ending)
    assert len(certified()) == 5 and len(OUTPUT.read_bytes()) == len(before)
    assert cli.main(["status", str(OUTPUT)]) == 0
    assert "  certified 5 of 15 evaluated points: median 0 %" in capfd.readouterr().out


OBJECTIVE = """
from pathlib import Path
import torch
from torch.nn.functional import cross_entropy

def objective(model, batch):
    loss = cross_entropy(model(batch[0]), batch[1], reduction="none")
    if loss.mean() > 2.3 and Path("broken").exists():
        raise ValueError("out of order")
    return {"loss": loss * torch.nan if loss.mean() < 1.8 else loss}
"""


@pytest.mark.slow
def test_points_that_fail_or_have_no_number(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "mine.py").write_text(OBJECTIVE)
    own = sets("evaluate.objective=mine.py:objective", "evaluate.max_failures=14")
    assert lsweep("sweep", *own) == 0
    swept = read(OUTPUT)
    failing, nameless = int((swept.loss > 2.3).sum()), int(np.isnan(swept.loss).sum())
    assert failing > 0 and nameless > 0 and failing + nameless < 15
    (here / "broken").touch()
    assert lsweep("certify", *own) == 3
    made = certified()
    assert f"{failing} points of the certificate failed" in capfd.readouterr().err
    assert len(made) == 15 - failing and made.missing == failing
    assert np.isnan(made.full["loss"]).sum() == nameless and (made.relative_error("loss") == 0).all()
    (here / "broken").unlink()
    assert lsweep("certify", *own, "--max-points", str(failing)) == 0
    assert len(certified()) == 15 and (certified().relative_error("loss") == 0).all()


def other_weights(here: Path) -> None:
    torch.save(project.state(1), here / "net.pt")


def no_points(here: Path) -> None:
    with h5py.File(OUTPUT, "r+") as file:
        file["status"][...] = Status.PENDING


def nothing(here: Path) -> None:
    pass


BAD = {
    "other weights": (other_weights, [], "is another sweep: its weights is"),
    "another seed": (nothing, sets("directions.seed=1"), "is another sweep: its directions.x is"),
    "another precision": (
        nothing,
        sets("evaluate.precision=fp64"),
        "is another sweep: its precision is fp32",
    ),
    "no sweep": (
        nothing,
        sets("output=out/absent.h5"),
        "no sweep at 'out/absent.h5': run `lsweep sweep` first",
    ),
    "no folder": (nothing, sets("output=nowhere/a.h5"), "no sweep at 'nowhere/a.h5'"),
    "no sweep's file": (nothing, sets("output=train.npz"), "'train.npz' is not a readable HDF5 file"),
    "nothing evaluated": (no_points, [], "has no evaluated point, so there is nothing to certify"),
    "in the way": (lambda here: WORKING.write_text("mine"), [], "is not a readable HDF5 file"),
    "locked": (lambda here: acquire(OUTPUT), [], "is being written by process"),
    "no points": (nothing, ["--points", "0"], "--points must be >= 1, got 0"),
    "no point": (nothing, ["--max-points", "0"], "--max-points must be >= 1, got 0"),
    "a seed below zero": (nothing, ["--seed", "-1"], "--seed must be >= 0 and < 2^63, got -1"),
    "no time": (nothing, ["--time-limit", "soon"], "a time limit is"),
    "less than none": (nothing, sets("evaluate.certificate=-1"), "evaluate.certificate must be >= 0, got -1"),
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    project.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert lsweep("sweep") == 0
    return folder


@pytest.mark.parametrize("case", BAD)
def test_refused_with_one_line(
    case: str,
    swept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(swept, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    spoil, arguments, said = BAD[case]
    spoil(Path.cwd())
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    assert lsweep("certify", *arguments) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("lsweep: error: ") and said in line
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before
    assert not Path("nowhere").exists()


@pytest.mark.slow
def test_another_sweep_s_working_file_is_removed(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its own was deleted, and one of other weights bears its name."""
    assert lsweep("sweep") == 0
    monkeypatch.setattr(group, "write", no_room)
    assert lsweep("certify") == 2 and WORKING.exists()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    OUTPUT.unlink()
    other_weights(here)
    assert lsweep("sweep") == 0 == lsweep("certify")
    assert "is of another sweep (its weights differs) and is removed" in capfd.readouterr().err
    assert len(certified()) == 15 and (certified().relative_error("loss") == 0).all()


@pytest.mark.parametrize(
    ("sweep", "certificate", "status"),
    [  # failed, evaluated of the sweep; failed, pending, evaluated of its certificate
        ((0, 9), (0, 0, 5), 0),
        ((0, 9), (2, 0, 3), 3),
        ((1, 9), (0, 0, 5), 3),
        ((0, 9), (0, 5, 0), 75),
        ((0, 0), (0, 2, 3), 75),
        ((1, 0), (0, 5, 0), 1),
        ((0, 0), (0, 0, 0), 0),
    ],
)
def test_exit_status(sweep: tuple[int, int], certificate: tuple[int, int, int], status: int) -> None:
    failed, pending, evaluated = certificate
    end = Outcome(done=0, failed=failed, pending=pending, evaluated=evaluated)
    outcome = Outcome(done=9, failed=sweep[0], pending=0, evaluated=sweep[1], certificate=end)
    assert outcome.exit_status == status
    assert outcome.stopped == (pending > 0)
