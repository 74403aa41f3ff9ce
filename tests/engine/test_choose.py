"""Batch sizes by measurement."""

from __future__ import annotations

import time
from pathlib import Path

import project
import pytest
from launch import python

from lsweep.comm import SerialComm
from lsweep.engine import choose
from lsweep.store.reader import read_identity


def test_the_fastest_is_found() -> None:
    """So many milliseconds for each batch and each example: 20 a batch is best, 8 is nearly twice as slow."""
    cost = {8: 0.004, 20: 0.002, 50: 0.006}

    def work(size: int) -> int:
        time.sleep(cost[size] * 5)
        return 5 * 8

    assert choose.fastest(SerialComm(), list(cost), work) == 20


def test_of_equals_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(choose.time, "perf_counter", lambda: next(clock))
    assert choose.fastest(SerialComm(), [4, 8, 16], lambda size: 100) == 4


@pytest.mark.slow
def test_a_resume_takes_what_the_file_began_with(tmp_path: Path) -> None:
    project.make(tmp_path)
    auto = ["-m", "lsweep", "sweep", "sweep.toml", "--verbose", "--set", "evaluate.batch_size=auto"]
    done = python(*auto, "--max-points", "3", cwd=tmp_path)
    assert done.returncode == 75, done.stderr
    assert "examples per batch are the fastest here" in done.stderr
    size = read_identity(tmp_path / "out/sweep.h5")[0]["batch_size"]
    assert size in choose.BATCH_SIZES["cpu"]
    done = python(*auto, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fastest" not in done.stderr
    given = [a.replace("auto", str(size)) for a in auto]
    assert python(*given, cwd=tmp_path).returncode == 0
    other = [a.replace("auto", str(size + 1)) for a in auto]
    refused = python(*other, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"its batch_size is {size}, this one's is {size + 1}" in refused.stderr
    wrong = [a.replace("auto", "large") for a in auto]
    assert "evaluate.batch_size must be one of auto" in python(*wrong, cwd=tmp_path).stderr
