"""Sweeps on 1, 2 and 4 ranks: the same bits however many ran, were stopped or killed; nobody hangs."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from launch import SUPPORT, Job, mpi, need_mpi, need_parallel_hdf5

from lsweep.store.reader import read
from lsweep.surface import Surface

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(180)]
DRIVER = SUPPORT / "driver.py"
TOTAL = 77


def sweep(ranks: int, folder: Path, *options: str, scenario: str = "sweep") -> Job:
    return mpi(ranks, DRIVER, scenario, folder, *options)


def bits(surface: Surface) -> dict[str, bytes]:
    return {name: values.tobytes() for name, values in surface.metrics.items()} | {
        "status": surface.status.tobytes()
    }


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One rank, uninterrupted."""
    need_mpi()
    folder = tmp_path_factory.mktemp("truth")
    job = sweep(1, folder)
    assert job.process.returncode == 0, job.err
    surface = read(folder / "sweep.h5")
    assert surface.complete
    assert surface.shape == (7, 11)
    assert surface.loss[2, 3] == np.sin(3 * surface.x[3]) * np.exp(surface.y[2]) + surface.x[3] / 7
    assert np.isnan(surface.loss[-1, 0])
    assert surface.status[-1, 0] == 1
    return bits(surface)


@pytest.mark.parametrize(("ranks", "tile", "kind"), [(2, 1, "dynamic"), (4, 5, "static"), (4, 1, "dynamic")])
def test_same_bits_on_any_number_of_ranks(
    ranks: int, tile: int, kind: str, mode: str, tmp_path: Path, truth: dict[str, bytes]
) -> None:
    job = sweep(ranks, tmp_path, f"mode={mode}", f"tile={tile}", f"kind={kind}", "seconds=0.02")
    assert job.process.returncode == 0, job.err
    assert job.out.split("\n")[0] == f"done {TOTAL} failed 0 pending 0 {TOTAL}"
    surface = read(tmp_path / "sweep.h5")
    assert bits(surface) == truth
    assert set(np.unique(surface.rank)) == set(range(ranks))
    (session,) = surface.sessions
    assert (session["ranks"], session["points"], session["mode"]) == (ranks, TOTAL, mode)
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.h5"]


def test_stopped_half_way_and_resumed_by_others(mode: str, tmp_path: Path, truth: dict[str, bytes]) -> None:
    other = {"gather": "mpio", "mpio": "gather"}[mode]
    if other == "mpio":
        need_parallel_hdf5()
    job = sweep(2, tmp_path, f"mode={mode}", "max=40", "tile=3")
    assert job.process.returncode == 75, job.err
    done = int(job.out.split()[1])
    assert 40 <= done < 43
    assert job.out.split("\n")[0] == f"done {done} failed 0 pending {TOTAL - done} {done}"
    job = sweep(4, tmp_path, f"mode={other}", "tile=3")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == truth
    sessions = read(tmp_path / "sweep.h5").sessions
    assert [(s["ranks"], s["points"]) for s in sessions] == [(2, done), (4, TOTAL - done)]


def begun(job: Job, output: Path, points: int, status: int = 1) -> None:
    """Wait until so many points are durable."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if output.exists() and int((read(output).status == status).sum()) >= points:
            return
        if job.process.poll() is not None:
            job.wait()
            pytest.fail(f"it ended too early: {job.err}")
        time.sleep(0.02)
    job.kill()
    pytest.fail(f"no {points} points in time: {job.err}")


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_stops_all_ranks(
    number: signal.Signals, mode: str, tmp_path: Path, truth: dict[str, bytes]
) -> None:
    """SIGUSR2 goes by mpiexec to every rank; SIGTERM here to one rank alone, which tells the others."""
    job = Job(3, DRIVER, "sweep", tmp_path, f"mode={mode}", "seconds=0.1", "sync=0")
    begun(job, tmp_path / "sweep.h5", 6)
    pid = job.process.pid if number == signal.SIGUSR2 else job.ranks()[-1]
    os.kill(pid, number)
    assert job.wait() == 75, job.err
    assert f"received {number.name}" in job.out
    surface = read(tmp_path / "sweep.h5")
    assert 6 <= int(surface.done.sum()) < TOTAL
    assert not (tmp_path / "sweep.h5.lock").exists()
    assert sweep(2, tmp_path, f"mode={mode}").process.returncode == 0
    assert bits(read(tmp_path / "sweep.h5")) == truth


@pytest.mark.parametrize("victim", ["mpiexec", "rank 0", "rank 2"])
def test_killed_and_started_again_at_once(
    victim: str, mode: str, tmp_path: Path, truth: dict[str, bytes]
) -> None:
    output = tmp_path / "sweep.h5"
    job = Job(3, DRIVER, "sweep", tmp_path, f"mode={mode}", "seconds=0.05", "sync=0")
    begun(job, output, 10)
    pids = job.ranks()
    os.kill(job.process.pid if victim == "mpiexec" else pids[int(victim[-1])], signal.SIGKILL)
    job.wait()
    before = read(output)
    assert int(before.done.sum()) >= 10
    again = sweep(2, tmp_path, f"mode={mode}")  # at once: ranks of the killed job may still be alive
    assert again.process.returncode == 0, again.err
    after = read(output)
    assert bits(after) == truth
    assert not any(_alive(pid) for pid in pids)
    np.testing.assert_array_equal(after.loss[before.done], before.loss[before.done])


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_more_ranks_than_points(mode: str, tmp_path: Path) -> None:
    assert sweep(2, tmp_path, f"mode={mode}", "max=75").process.returncode == 75
    job = sweep(4, tmp_path, f"mode={mode}")
    assert job.process.returncode == 0, job.err
    assert job.out.startswith(f"done {TOTAL} failed 0 pending 0 2\n")


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("cuda", "CUDA error: an illegal memory access"),
        ("exit", "SystemExit: 5"),
        ("handler", "ValueError: rank 3 says now"),
        ("too_many", "points failed, more than evaluate.max_failures = 3"),
        ("input", "lsweep: error: the data changed under our feet"),
    ],
)
def test_one_failing_rank_ends_the_job(scenario: str, said: str, tmp_path: Path) -> None:
    """Within ten seconds, with its traceback, whatever the others are at: here some are long done."""
    job = Job(4, DRIVER, scenario, tmp_path, "seconds=0.01")
    status = job.wait(timeout=25)
    assert time.monotonic() - job.started < 20  # ten from the failure on, and the start
    assert status == (2 if scenario == "input" else 1)
    assert said in job.err
    assert ("Traceback" in job.err) == (scenario != "input")
    again = sweep(2, tmp_path)
    assert again.process.returncode == 0, again.err  # nothing is in its way


@pytest.mark.parametrize(("kind", "mode"), [("static", "mpio"), ("dynamic", "gather"), ("dynamic", "mpio")])
def test_64_ranks_evaluate_every_pending_point_once(
    kind: str, mode: str, tmp_path: Path, truth: dict[str, bytes]
) -> None:
    if mode == "mpio":
        need_parallel_hdf5()
    assert sweep(1, tmp_path, "max=5").process.returncode == 75
    before = read(tmp_path / "sweep.h5").done
    options = (f"mode={mode}", f"kind={kind}", "seconds=0.01")
    job = mpi(64, DRIVER, "diary", tmp_path, *options, timeout=170)
    assert job.process.returncode == 0, job.err
    assert "static schedule is used" not in job.err
    surface = read(tmp_path / "sweep.h5")
    assert bits(surface) == truth
    evaluated = sorted(
        line for diary in tmp_path.glob("evaluated-*") for line in diary.read_text().splitlines()
    )
    pending = np.argwhere(~before)
    assert evaluated == sorted(f"{surface.x[i]:.6f} {surface.y[j]:.6f}" for j, i in pending)


@pytest.mark.parametrize(
    ("level", "said"),
    [("funneled", "serves no requests while a rank computes"), ("multiple", "no one-sided communication")],
)
def test_a_dynamic_schedule_that_would_wait_for_rank_0_falls_back(
    level: str, said: str, tmp_path: Path, truth: dict[str, bytes]
) -> None:
    """Open MPI's `osc/pt2pt` completes a fetch only when its target calls MPI, and is none for many threads."""
    slow = {"OMPI_MCA_osc": "pt2pt", "MPI4PY_RC_THREAD_LEVEL": level}
    job = mpi(2, DRIVER, "sweep", tmp_path, "kind=dynamic", **slow)
    assert job.process.returncode == 0, job.err
    assert said in job.err
    assert "static schedule is used" in job.err
    assert bits(read(tmp_path / "sweep.h5")) == truth


@pytest.mark.parametrize("scenario", ["hang", "freeze"])
def test_a_rank_that_hangs_is_named(scenario: str, tmp_path: Path, truth: dict[str, bytes]) -> None:
    job = Job(3, DRIVER, scenario, tmp_path, "seconds=0.01", "sync=0", "silent=1")
    if scenario == "freeze":
        begun(job, tmp_path / "sweep.h5", 40)
        time.sleep(3)
        os.kill(job.ranks()[2], signal.SIGCONT)
    assert job.wait() == 0, job.err
    assert re.search(
        r"rank 2 \(.+\) has been silent for 0:0\d; until now the slowest point took 0.0", job.err
    )
    assert ("this rank has been at point (" in job.err) == (scenario == "hang")
    assert not re.search(r"rank [01] \(", job.err)
    assert bits(read(tmp_path / "sweep.h5")) == truth


def test_a_disk_that_is_full_stops_all_ranks(mode: str, tmp_path: Path, truth: dict[str, bytes]) -> None:
    """Told by the rank whose write failed; what was acknowledged stays, and the sweep goes on after room is made."""
    ranks = 1 if mode == "gather" else 3  # in gather mode only rank 0 writes, and `full` strikes the last
    job = sweep(ranks, tmp_path, f"mode={mode}", "seconds=0.02", "sync=0", scenario="full")
    assert job.process.returncode == 75, job.err
    assert "Traceback" not in job.err
    assert job.out.split("\n")[1].endswith("sweep.h5' cannot be written any more: Disk quota exceeded")
    done = int(job.out.split()[1])
    assert done == int(job.out.split()[6]) == int(read(tmp_path / "sweep.h5").done.sum())
    assert 2 <= done < TOTAL
    assert sweep(2, tmp_path, f"mode={mode}").process.returncode == 0
    assert bits(read(tmp_path / "sweep.h5")) == truth


def test_a_failed_point_is_noted_and_tried_again(mode: str, tmp_path: Path, truth: dict[str, bytes]) -> None:
    job = sweep(2, tmp_path, f"mode={mode}", "tile=4", scenario="bad_points")
    assert job.process.returncode == 3, job.err
    assert "point (1, 3) failed: ValueError: no such place" in job.err or "no such place" not in job.err
    surface = read(tmp_path / "sweep.h5")
    assert surface.status[-1, -1] == 2
    assert int((surface.status == 1).sum()) == TOTAL - 1
    assert sweep(1, tmp_path, f"mode={mode}").process.returncode == 3  # nothing pending: nothing to do
    job = sweep(2, tmp_path, f"mode={mode}", scenario="retry")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == truth


def test_failed_points_do_not_keep_the_others_waiting(tmp_path: Path) -> None:
    """A failed point among the coarsest comes last when it is tried again: short sessions get on."""
    for pending in (36, 35):
        job = sweep(1, tmp_path, f"max={41 if pending == 36 else 1}", scenario="bad_points")
        assert job.process.returncode == 75, job.err
        assert job.out.startswith(f"done {TOTAL - 1 - pending} failed 1 pending {pending} ")
