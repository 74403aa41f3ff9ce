"""Communication on 1, 2 and 4 ranks; the checks are in comm_checks.py, one launch each."""

from __future__ import annotations

import json

import pytest
from launch import SUPPORT, mpi, need_mpi

CHECKS = SUPPORT / "comm_checks.py"


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_understand_each_other(ranks: int) -> None:
    need_mpi()
    job = mpi(ranks, CHECKS, timeout=120)
    assert job.process.returncode == 0, job.err
    failed = {name: reports for name, reports in json.loads(job.out).items() if reports}
    assert not failed, "\n".join(text for reports in failed.values() for text in reports)


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_error_in_a_user_s_script_ends_all_ranks() -> None:
    need_mpi()
    code = (
        "from lsweep.comm import connect\ncomm = connect()\n"
        "if comm.rank == 1: raise KeyError('mine')\ncomm.barrier()\n"
    )
    job = mpi(3, "-c", code, timeout=20)
    assert job.process.returncode == 1
    assert "KeyError: 'mine'" in job.err
