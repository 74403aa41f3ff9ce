"""SIGKILL of ranks, launchers and everything at random times; scripts/checks/kill_matrix.py at full size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import kill_plans
import killing
import pytest
from launch import need_mpi, need_parallel_hdf5

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(420)]
RUNS = 16


def test_killed_at_random_and_gone_on_with(tmp_path: Path) -> None:
    need_mpi()
    need_parallel_hdf5()
    chosen = kill_plans.plans(seed=3, modes=("gather", "mpio"), ranks=(2, 3))
    results = killing.run_all(chosen, tmp_path, RUNS)
    killed = [result for result in results if result.fell != "too late"]
    assert [result for result in results if result.wrong] == []
    assert len(killed) == RUNS
    assert len({(result.plan.mode, result.plan.victim) for result in killed}) == 2 * len(kill_plans.VICTIMS)
    fell = Counter(result.fell for result in killed)
    assert fell["mid-sweep"] >= RUNS // 4, fell
    assert sum(result.acknowledged for result in killed) > 100
