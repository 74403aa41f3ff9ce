"""Certificates on 1, 2 and 4 ranks, stopped and killed; and kills while the sweep's file is replaced."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import project
import pytest
import stepping
from launch import Job, absent, environment, mpi, need_mpi, need_parallel_hdf5, python

from lsweep.certificate import Certificate
from lsweep.store.reader import read
from lsweep.surface import Status

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(300)]

NET = """
import os, time
from torch import nn

class Slow(nn.Module):
    def forward(self, x):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return x

def make_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3), Slow())
"""
SETTINGS = ["grid.x.num=17", "grid.y.num=17", "grid.refine.tolerance=0.2", "evaluate.precision=bf16"]
SETTINGS += ["store.sync_seconds=0", "evaluate.batch_size=40"]
COMMON = [part for setting in SETTINGS for part in ("--set", setting)]
POINTS = 12  # of each kind


def certify(ranks: int, folder: Path, *arguments: str) -> Job:
    return mpi(
        ranks,
        "-m",
        "lsweep",
        "certify",
        "sweep.toml",
        "--quiet",
        *COMMON,
        *arguments,
        cwd=folder,
        timeout=120,
    )


def certified(folder: Path) -> Certificate:
    found = read(folder / "out/sweep.h5").certificate
    assert found is not None
    return found


def bits(made: Certificate) -> list[bytes]:
    values = [values.tobytes() for named in (made.full, made.stored) for values in named.values()]
    return [made.points.tobytes(), made.kinds.tobytes(), *values]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refined sweep in bf16, and a copy of it with its certificate, made by one process."""
    need_mpi()
    folder = tmp_path_factory.mktemp("swept")
    project.make(folder)
    (folder / "net.py").write_text(NET)
    for copy, verb in ((folder, "sweep"), (folder / "truth", "certify")):
        if verb == "certify":
            shutil.copytree(folder, copy)
        more = ["--points", str(POINTS)] if verb == "certify" else []
        done = python("-m", "lsweep", verb, "sweep.toml", "--quiet", *COMMON, *more, cwd=copy, timeout=120)
        assert done.returncode == 0, done.stderr
    assert read(folder / "out/sweep.h5").count(Status.SETTLED) > POINTS
    return folder


@pytest.fixture
def here(swept: Path, tmp_path: Path) -> Path:
    shutil.copytree(swept, tmp_path / "here", ignore=shutil.ignore_patterns("truth"))
    return tmp_path / "here"


@pytest.mark.parametrize(("ranks", "mode", "kind"), [(2, "gather", "static"), (4, "mpio", "dynamic")])
def test_the_same_bits_on_2_and_4_ranks(ranks: int, mode: str, kind: str, swept: Path, here: Path) -> None:
    if mode == "mpio":
        need_parallel_hdf5()
    more = ["--set", f"store.mode={mode}", "--set", f"schedule.kind={kind}", "--points", str(POINTS)]
    job = certify(ranks, here, *more)
    assert job.process.returncode == 0, job.err
    made = certified(here)
    assert made.kinds.tolist() == [0] * POINTS + [1] * POINTS
    assert made.relative_error("loss").max() > 0
    assert bits(made) == bits(certified(swept / "truth"))
    assert [path.name for path in (here / "out").iterdir()] == ["sweep.h5"]


def begun(job: Job, working: Path, points: int) -> None:
    """Wait until so many points are durable."""
    end = time.monotonic() + 60
    while time.monotonic() < end and job.process.poll() is None:
        if working.exists() and int(read(working).done.sum()) >= points:
            return
        time.sleep(0.02)
    job.kill()
    pytest.fail(f"no {points} points in time: {job.out} {job.err}")


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGKILL])
def test_a_signal_in_its_midst(number: signal.Signals, swept: Path, here: Path) -> None:
    """Killed, nothing but the last points is lost; stopped, what is known is in the file at once."""
    before = (here / "out/sweep.h5").read_bytes()
    working = here / "out/sweep.h5.certificate"
    arguments = ["-m", "lsweep", "certify", "sweep.toml", "--quiet", *COMMON, "--points", str(POINTS)]
    job = Job(2, *arguments, cwd=here, SLOW="0.15")
    begun(job, working, 5)
    if number == signal.SIGUSR2:
        os.kill(job.process.pid, number)
        assert job.wait() == 75, job.err
        assert not working.exists()
        known = len(certified(here))
        assert losses(certified(here)).items() < losses(certified(swept / "truth")).items()
    else:
        job.kill()
        assert (here / "out/sweep.h5").read_bytes() == before
        known = int(read(working).done.sum())
    assert 5 <= known < 2 * POINTS
    # Exactly the rest is evaluated, by others.
    again = certify(3, here, "--points", str(POINTS), "--max-points", str(2 * POINTS - known))
    assert again.process.returncode == 0, again.err
    assert bits(certified(here)) == bits(certified(swept / "truth"))
    assert [path.name for path in (here / "out").iterdir()] == ["sweep.h5"]


def losses(made: Certificate) -> dict[int, tuple[float, float]]:
    """Point → the full loss and the sweep's."""
    pairs = zip(made.full["loss"].tolist(), made.stored["loss"].tolist(), strict=True)
    return dict(zip(made.points.tolist(), pairs, strict=True))


WRITE = """
import sys
from pathlib import Path
from lsweep.store import certificate
from lsweep.store.reader import read
certificate.write(Path(sys.argv[2]), read(sys.argv[1], trusted=True).certificate)
"""


def replaced(source: Path, output: Path, **settings: str) -> int:
    """A process that puts the certificate of `source` into `output`; its exit status."""
    command = [sys.executable, "-c", WRITE, str(source), str(output)]
    return subprocess.run(command, env=environment(**settings), capture_output=True, timeout=60).returncode


def test_killed_at_every_step_of_replacing_the_file(swept: Path, tmp_path: Path) -> None:
    """Before each of them, and in the midst of each write, there is a whole file, the old one or the new one."""
    if shutil.which("cc") is None:
        absent("no C compiler for the interposer")
    library = stepping.build(tmp_path)
    source, sweep = swept / "truth/out/sweep.h5", read(swept / "out/sweep.h5")

    def run(name: str, **disturbance: object) -> tuple[int, list[stepping.Step], Path]:
        shutil.copytree(swept / "out", tmp_path / name)
        log, output = tmp_path / f"{name}.log", tmp_path / name / "sweep.h5"
        settings = stepping.variables(library, output.parent, log=log, **disturbance)
        return replaced(source, output, **settings), stepping.read_log(log), output

    status, steps, _ = run("undisturbed")
    assert status == 0 and {"write", "fsync", "chmod", "rename"} <= {step.call for step in steps}
    outcomes = set()
    for step in steps:
        for blow in ("before", "torn") if step.call == "write" else ("before",):
            status, taken, output = run(f"{blow}{step.number}", at=step.number, do=blow)
            assert status == -signal.SIGKILL and len(taken) == step.number
            found = read(output, trusted=True)
            assert found.loss.tobytes() == sweep.loss.tobytes()
            is_new = any(done.call == "rename" and done.result == 0 for done in taken)
            assert (found.certificate is not None) == is_new
            outcomes.add(is_new)
            if found.certificate is not None:
                assert bits(found.certificate) == bits(certified(swept / "truth"))
            assert replaced(source, output) == 0
            assert read(output, trusted=True).certificate is not None
    assert outcomes == {False, True}
