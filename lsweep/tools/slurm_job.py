"""State of Slurm jobs: whether one still exists, and when the current one ends.

Each question starts one of Slurm's commands: ask on rank 0 alone and pass the answer on, for ten thousand ranks that
ask at once are an attack on the controller. Where Slurm is absent, silent or slow, the answer is None, never an error.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

# The state of a job that Slurm does not know (any more): never submitted here, or ended long ago.
NO_SUCH_JOB = "NO_SUCH_JOB"
# States in which processes of a job may be alive. In any other one it waits for its (next) start, or has ended.
ENDING = {"COMPLETING", "REQUEUED", "REQUEUE_FED"}
ALIVE = ENDING | {"RUNNING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
# Seconds for an answer. A busy controller takes some; with a broken configuration squeue itself tries for a minute.
PATIENCE = 10.0
_FIELDS = "JobID:20,State:30,RestartCnt:10,EndTime:30"


@dataclass(frozen=True)
class Job:
    """A job as Slurm sees it.

    Attributes:
        state: "RUNNING", "PENDING", "COMPLETED", …, or `NO_SUCH_JOB`.
        restarts: how often it was requeued; what `SLURM_RESTART_COUNT` says within the job, where it is unset for 0.
        end: Unix time at which it ends, by its time limit if it runs; None where there is none.
    """

    state: str
    restarts: int = 0
    end: float | None = None


def ask(job_id: str) -> Job | None:
    """The job of that `SLURM_JOB_ID`, or None where Slurm cannot be asked."""
    if not (job_id.isascii() and job_id.isdecimal()):
        return None
    ran = _run("squeue", "--noheader", "--all", "--states=all", f"--jobs={job_id}", f"--Format={_FIELDS}")
    if ran is None:
        return None
    if ran.returncode:
        return Job(NO_SUCH_JOB) if "Invalid job id" in ran.stderr else None
    # The last task of an array bears the array's number, by which Slurm names all tasks: look for its own.
    rows = [row for row in map(str.split, ran.stdout.splitlines()) if len(row) == 4 and row[0] == job_id]
    if not rows:
        return Job(NO_SUCH_JOB)
    _, state, restarts, end = rows[0]
    return Job(state, int(restarts) if restarts.isdecimal() else 0, float(end) if end.isdecimal() else None)


def is_gone(job_id: str, restart: str = "", cluster: str = "") -> bool:
    """Whether a life of a job is surely over: the job has ended, waits for its next start, or is in a later life.

    False also where nobody can tell: no Slurm, no answer, a job of another cluster.

    Args:
        job_id: its `SLURM_JOB_ID`. A job of our own user: a site may hide those of others, which then look gone.
        restart: the `SLURM_RESTART_COUNT` of that life ("" in a first one).
        cluster: its `SLURM_CLUSTER_NAME`.
    """
    if not cluster or cluster != this_cluster():
        return False
    job = ask(job_id)
    if job is None:
        return False
    if job.state not in ALIVE:
        return True
    # While a requeued job completes, the count is the next life's already and processes of the last one may live.
    return job.state not in ENDING and job.restarts > (int(restart) if restart.isdecimal() else 0)


def this_cluster() -> str:
    """The name of the cluster whose Slurm answers here, "" where none does."""
    name = os.environ.get("SLURM_CLUSTER_NAME", "")
    if name:
        return name
    ran = _run("scontrol", "show", "config")
    lines = ran.stdout.splitlines() if ran is not None else []
    return next((line.partition("=")[2].strip() for line in lines if line.startswith("ClusterName")), "")


def end_time() -> float | None:
    """When the job around us ends, as Unix time; None outside of a job, or where there is no limit or no answer."""
    told = os.environ.get("SLURM_JOB_END_TIME", "")  # since Slurm 23.02
    if told.isdecimal():
        return float(told)
    job = ask(os.environ.get("SLURM_JOB_ID", ""))
    return None if job is None else job.end


def _run(*command: str) -> subprocess.CompletedProcess[str] | None:
    # A user's SQUEUE_FORMAT and the like would change the answer; %s gives times that know no time zone.
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("SQUEUE_") and k != "SLURM_CLUSTERS"
    }
    environment |= {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
