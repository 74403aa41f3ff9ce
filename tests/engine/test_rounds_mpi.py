"""Refined sweeps on 1, 2 and 4 ranks: the same points, however many ranks ran, were stopped or killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from launch import SUPPORT, Job, mpi, need_mpi, need_parallel_hdf5

from lsweep.store.reader import read
from lsweep.surface import Status, Surface

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(180)]
DRIVER = SUPPORT / "driver.py"
TOTAL = 37 * 34
REFINED = "refine=0.02"


def sweep(ranks: int, folder: Path, *options: str, scenario: str = "sweep") -> Job:
    return mpi(ranks, DRIVER, scenario, folder, REFINED, *options)


def bits(surface: Surface) -> dict[str, bytes]:
    return {name: values.tobytes() for name, values in surface.metrics.items()} | {
        "status": surface.status.tobytes()
    }


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Surface:
    """One rank, uninterrupted."""
    need_mpi()
    folder = tmp_path_factory.mktemp("truth")
    job = sweep(1, folder)
    assert job.process.returncode == 0, job.err
    surface = read(folder / "sweep.h5")
    done, settled = surface.count(Status.DONE), surface.count(Status.SETTLED)
    assert done + settled == TOTAL and 200 < done < TOTAL / 2
    assert job.out.startswith(f"done {done} failed 0 pending 0 {done}\n")
    assert np.isnan(surface.loss[surface.settled]).all()
    return surface


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Surface:
    """Every point."""
    need_mpi()
    folder = tmp_path_factory.mktemp("full")
    job = sweep(2, folder, scenario="complete")
    assert job.process.returncode == 0, job.err
    surface = read(folder / "sweep.h5")
    assert surface.done.all()
    return surface


def test_interpolated_points_are_what_would_have_been_evaluated(truth: Surface, full: Surface) -> None:
    for name in ("loss", "loss_test"):
        filled = truth.filled(name)
        np.testing.assert_array_equal(filled[truth.done], full.metrics[name][truth.done])
        off = np.abs(filled / full.metrics[name] - 1)[truth.settled]
        assert np.percentile(off, 95) < 0.02 and off.max() < 0.04
    assert np.abs(truth.filled("accuracy_test") - full.metrics["accuracy_test"])[truth.settled].max() < 0.01


@pytest.mark.parametrize(("ranks", "tile", "kind"), [(2, 1, "static"), (4, 3, "static"), (4, 1, "dynamic")])
def test_the_same_points_and_bits_on_any_number_of_ranks(
    ranks: int, tile: int, kind: str, mode: str, tmp_path: Path, truth: Surface
) -> None:
    job = sweep(ranks, tmp_path, f"mode={mode}", f"tile={tile}", f"kind={kind}")
    assert job.process.returncode == 0, job.err
    surface = read(tmp_path / "sweep.h5")
    assert bits(surface) == bits(truth)
    assert surface.sessions[0]["points"] == truth.count(Status.DONE)


def test_stopped_in_two_rounds_and_resumed_by_others(mode: str, tmp_path: Path, truth: Surface) -> None:
    other = {"gather": "mpio", "mpio": "gather"}[mode]
    if other == "mpio":
        need_parallel_hdf5()
    done = truth.count(Status.DONE)
    job = sweep(2, tmp_path, f"mode={mode}", f"max={done // 3}")
    assert job.process.returncode == 75, job.err
    assert job.out.startswith(f"done {done // 3} failed 0 pending {TOTAL - done // 3} {done // 3}\n")
    job = sweep(4, tmp_path, f"mode={other}", f"max={done // 2}")
    assert job.process.returncode == 75, job.err
    assert not read(tmp_path / "sweep.h5").settled.any()
    job = sweep(3, tmp_path, f"mode={mode}")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)
    again = sweep(2, tmp_path, f"mode={mode}")
    assert again.process.returncode == 0
    assert again.out.startswith(f"done {done} failed 0 pending 0 0\n")


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGKILL])
def test_a_signal_in_the_midst_of_a_round(
    number: signal.Signals, mode: str, tmp_path: Path, truth: Surface
) -> None:
    job = Job(3, DRIVER, "sweep", tmp_path, REFINED, f"mode={mode}", "seconds=0.02", "sync=0")
    job.wait_for_points(tmp_path / "sweep.h5", 260)
    os.kill(job.process.pid, number)
    assert (job.wait() == 75) == (number == signal.SIGUSR2), job.err
    before = read(tmp_path / "sweep.h5")
    assert 260 <= before.done.sum() < truth.done.sum()
    assert not (before.done & ~truth.done).any()
    job = sweep(2, tmp_path, f"mode={mode}")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)


def test_complete_evaluates_the_rest(mode: str, tmp_path: Path, truth: Surface, full: Surface) -> None:
    assert sweep(2, tmp_path, f"mode={mode}").process.returncode == 0
    done = truth.count(Status.DONE)
    job = sweep(4, tmp_path, f"mode={mode}", "max=100", scenario="complete")
    assert job.process.returncode == 75, job.err
    assert job.out.startswith(f"done {done + 100} failed 0 pending {TOTAL - done - 100} 100\n")
    # Without the flag what is left is still settled, and nothing is to be done.
    assert sweep(2, tmp_path, f"mode={mode}").out.startswith(f"done {done + 100} failed 0 pending 0 0\n")
    job = sweep(3, tmp_path, f"mode={mode}", scenario="complete")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == bits(full)


def test_a_disk_that_is_full_in_the_midst_of_a_round(mode: str, tmp_path: Path, truth: Surface) -> None:
    ranks = 1 if mode == "gather" else 3
    job = sweep(ranks, tmp_path, f"mode={mode}", "sync=0", scenario="full")
    assert job.process.returncode == 75, job.err
    assert not read(tmp_path / "sweep.h5").settled.any()
    assert sweep(2, tmp_path, f"mode={mode}").process.returncode == 0
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)


def test_a_failed_point_holds_nothing_up(mode: str, tmp_path: Path, full: Surface) -> None:
    """It counts as looked at, until it is tried again."""
    job = sweep(2, tmp_path, f"mode={mode}", scenario="bad_corner")
    assert job.process.returncode == 3, job.err
    surface = read(tmp_path / "sweep.h5")
    assert surface.status[0, 0] == Status.FAILED and surface.settled.any() and surface.complete
    job = sweep(2, tmp_path, f"mode={mode}", scenario="retry")
    assert job.process.returncode == 0, job.err
    after = read(tmp_path / "sweep.h5")
    assert after.loss[0, 0] == full.loss[0, 0]
    np.testing.assert_array_equal(after.loss[after.done], full.loss[after.done])
