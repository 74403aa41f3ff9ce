"""Points sampled by their neighbours, on 1, 2 and 4 ranks: the same bits, however often they were killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from launch import SUPPORT, Job, mpi, need_mpi

from lsweep.store.reader import read
from lsweep.surface import Status, Surface

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(180)]
DRIVER = SUPPORT / "driver.py"
TOTAL = 37 * 34
OPTIONS = ("refine=0.02", "neighbours=yes")
LEFT = "sweep.h5.examples"


def sweep(ranks: int, folder: Path, *options: str, scenario: str = "sweep") -> Job:
    return mpi(ranks, DRIVER, scenario, folder, *OPTIONS, *options)


def bits(surface: Surface) -> dict[str, bytes]:
    columns = {"status": surface.status, "examples": surface.columns["examples"]}
    return {name: values.tobytes() for name, values in (surface.metrics | columns).items()}


def evaluated(folder: Path) -> Counter[str]:
    """Point → how many times any rank evaluated it, in scenario `diary`."""
    return Counter(line for diary in folder.glob("evaluated-*") for line in diary.read_text().splitlines())


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
    examples = surface.columns["examples"][surface.done]
    assert (examples < examples.max() / 3).sum() > done / 4
    return surface


@pytest.mark.parametrize(("ranks", "tile", "kind"), [(2, 1, "static"), (4, 3, "static"), (4, 1, "dynamic")])
def test_the_same_bits_on_any_number_of_ranks(
    ranks: int, tile: int, kind: str, tmp_path: Path, truth: Surface
) -> None:
    job = sweep(ranks, tmp_path, f"tile={tile}", f"kind={kind}", scenario="diary")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)
    times = evaluated(tmp_path)
    assert len(times) == truth.count(Status.DONE) and set(times.values()) == {1}


def test_stopped_and_resumed_by_others(mode: str, tmp_path: Path, truth: Surface) -> None:
    """A clean stop keeps all that was measured: no point is evaluated twice."""
    done = truth.count(Status.DONE)
    for ranks in (2, 4):
        job = sweep(ranks, tmp_path, f"mode={mode}", f"max={done // 3}", scenario="diary")
        assert job.process.returncode == 75, job.err
        assert (tmp_path / LEFT).exists()
    job = sweep(3, tmp_path, f"mode={mode}", scenario="diary")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)
    assert set(evaluated(tmp_path).values()) == {1}


def test_resumed_without_what_was_kept(tmp_path: Path, truth: Surface) -> None:
    done = truth.count(Status.DONE)
    job = sweep(2, tmp_path, f"max={2 * done // 3}", scenario="diary")
    assert job.process.returncode == 75, job.err
    (tmp_path / LEFT).unlink()
    job = sweep(4, tmp_path, scenario="diary")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)
    assert set(evaluated(tmp_path).values()) == {1, 2}


@pytest.mark.parametrize(
    ("number", "points"), [(signal.SIGKILL, 60), (signal.SIGKILL, 225), (signal.SIGUSR2, 225)]
)
def test_a_signal_in_the_midst_of_a_round(
    number: signal.Signals, points: int, mode: str, tmp_path: Path, truth: Surface
) -> None:
    job = Job(3, DRIVER, "sweep", tmp_path, *OPTIONS, f"mode={mode}", "seconds=0.02", "sync=0")
    job.wait_for_points(tmp_path / "sweep.h5", points)
    os.kill(job.process.pid, number)
    assert (job.wait() == 75) == (number == signal.SIGUSR2), job.err
    before = read(tmp_path / "sweep.h5")
    assert points <= before.done.sum() < truth.done.sum()
    np.testing.assert_array_equal(before.loss[before.done], truth.loss[before.done])
    job = sweep(2, tmp_path, f"mode={mode}")
    assert job.process.returncode == 0, job.err
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)


def test_a_disk_that_is_full_in_the_midst_of_a_round(mode: str, tmp_path: Path, truth: Surface) -> None:
    ranks = 1 if mode == "gather" else 3
    job = sweep(ranks, tmp_path, f"mode={mode}", "sync=0", scenario="full")
    assert job.process.returncode == 75, job.err
    assert sweep(2, tmp_path, f"mode={mode}").process.returncode == 0
    assert bits(read(tmp_path / "sweep.h5")) == bits(truth)
