"""Finding one's place: what the environment of a launcher says, before MPI is even imported."""

from __future__ import annotations

import os

import pytest

from lsweep.comm import SerialComm, connect, launched, rank_hint
from lsweep.errors import InputError


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("SLURM_", "PMI", "OMPI_COMM_WORLD")):
            monkeypatch.delenv(name)


def test_alone() -> None:
    assert isinstance(connect(), SerialComm)
    assert rank_hint() == 0


def test_a_batch_script_of_many_tasks_starts_no_silent_single_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    with pytest.raises(InputError, match=r"4 tasks were requested.*no other process.*srun --mpi=pmix"):
        connect()
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert isinstance(connect(), SerialComm)


def test_srun_without_a_pmi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.raises(InputError, match=r"without a PMI.*--mpi=pmix"):
        connect()
    assert rank_hint() == 1
    monkeypatch.setenv("PMIX_RANK", "1")
    assert not launched._without_pmi(os.environ)


def test_an_interactive_shell_of_one_task_in_a_larger_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launched, "_LAUNCHED", ())
    assert isinstance(connect(), SerialComm)
