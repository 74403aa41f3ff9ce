"""What Slurm says of a job, by a squeue that answers as the real one (22.05) was seen to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lsweep.tools import slurm_job
from lsweep.tools.slurm_job import NO_SUCH_JOB, Job, ask, end_time, is_gone, this_cluster

Answer = Callable[..., None]
INVALID = "slurm_load_jobs error: Invalid job id specified"
DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Let squeue print something, and forget the job around the tests."""
    for name in ("SLURM_JOB_ID", "SLURM_JOB_END_TIME", "SLURM_CLUSTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def program(out: str = "", err: str = "", status: int = 0, name: str = "squeue") -> None:
        (tmp_path / "out").write_text(out)
        (tmp_path / "err").write_text(err)
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/asked\nenv >{tmp_path}/env\n'
            f"cat {tmp_path}/out\ncat {tmp_path}/err >&2\nexit {status}\n"
        )
        (tmp_path / name).chmod(0o755)

    return program


def row(job_id: object, state: str, restarts: object = 0, end: object = "N/A") -> str:
    return f"{job_id:<20}{state:<30}{restarts:<10}{end:<30}\n"


def test_a_running_job(answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SLURM_CONF", "kept")
    answer(row("12", "RUNNING", 3, 1795629183))
    assert ask("12") == Job("RUNNING", 3, 1795629183.0)
    assert "--jobs=12 --Format=" in (tmp_path / "asked").read_text()
    environment = (tmp_path / "env").read_text()
    assert "SQUEUE_FORMAT" not in environment and "SLURM_CONF=kept" in environment


def test_the_last_task_of_an_array_bears_the_array_s_number(answer: Answer) -> None:
    answer(row("14", "RUNNING", 0, 20) + row("12", "COMPLETED", 1, 10) + row("13", "FAILED"))
    assert ask("12") == Job("COMPLETED", 1, 10.0)
    answer(row("14", "RUNNING") + row("13", "FAILED"))
    assert ask("12") == Job(NO_SUCH_JOB)


def test_no_such_job_is_not_no_answer(answer: Answer) -> None:
    answer(err=INVALID, status=1)
    assert ask("12") == Job(NO_SUCH_JOB)
    answer()
    assert ask("12") == Job(NO_SUCH_JOB)
    answer(err=DOWN, status=1)
    assert ask("12") is None
    answer(row("12", "PENDING"))
    job = ask("12")
    assert job is not None and job.state == "PENDING"


def test_where_slurm_cannot_be_asked(answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask("12") is None and this_cluster() == ""
    monkeypatch.setattr(slurm_job, "PATIENCE", 0.2)
    (tmp_path / "squeue").write_text("#!/bin/sh\nexec /bin/sleep 5\n")
    (tmp_path / "squeue").chmod(0o755)
    assert ask("12") is None


@pytest.mark.parametrize("job_id", ["", "12_3", "--help", "1,2", "²", "12 13"])
def test_what_is_no_job_id_asks_nobody(job_id: str, answer: Answer, tmp_path: Path) -> None:
    answer(row("12", "RUNNING"))
    assert ask(job_id) is None
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("state", "restarts", "restart", "gone"),
    [
        ("RUNNING", 0, "", False),
        ("RUNNING", 2, "2", False),
        ("RUNNING", 2, "1", True),  # requeued, and started again
        ("RUNNING", 1, "", True),
        ("COMPLETING", 1, "", False),  # being requeued: its processes may live
        ("SUSPENDED", 0, "", False),
        ("PENDING", 1, "", True),
        ("COMPLETED", 0, "", True),
        ("CANCELLED", 0, "", True),
        ("TIMEOUT", 0, "", True),
        ("NODE_FAIL", 0, "", True),
    ],
)
def test_a_life_that_is_over(
    state: str, restarts: int, restart: str, gone: bool, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "here")
    answer(row("12", state, restarts))
    assert is_gone("12", restart, "here") is gone
    assert not is_gone("12", restart, "elsewhere") and not is_gone("12", restart)


def test_a_job_that_slurm_forgot_is_gone(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "here")
    answer(err=INVALID, status=1)
    assert is_gone("12", "", "here")
    answer(err=DOWN, status=1)
    assert not is_gone("12", "", "here")


def test_the_cluster_s_name(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_cluster() == ""
    answer("CheckpointType         = none\nClusterName            = leo\n", name="scontrol")
    assert this_cluster() == "leo"
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "here")
    assert this_cluster() == "here"


def test_the_end_of_our_job(answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(row("12", "RUNNING", 0, 50) + row("13", "RUNNING", 0, "N/A"))
    assert end_time() is None
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    assert end_time() is None  # no time limit
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert end_time() == 50
    (tmp_path / "squeue").unlink()
    assert end_time() is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", "60")
    assert end_time() == 60
