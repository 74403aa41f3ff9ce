"""State of Slurm jobs: whether a job still exists, and when the current one ends.

Each query starts a Slurm command. Query on rank 0 only and broadcast the answer: ten thousand simultaneous queries
would overload the controller. If Slurm is absent, silent or slow, the answer is None, never an error.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

# The state of a job that Slurm does not know: never submitted here, or ended long ago.
NO_SUCH_JOB = "NO_SUCH_JOB"
# States in which processes of a job may be alive. In any other state the job waits for its (next) start or has ended.
ENDING = {"COMPLETING", "REQUEUED", "REQUEUE_FED"}
ALIVE = ENDING | {"RUNNING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
# Seconds to wait for an answer. A busy controller needs a few; if the configuration is broken, squeue retries for a
# minute.
PATIENCE = 10.0
_FIELDS = "JobID:20,State:30,RestartCnt:10,EndTime:30"


@dataclass(frozen=True)
class Job:
    """A job as reported by Slurm.

    Attributes:
        state: "RUNNING", "PENDING", "COMPLETED", …, or `NO_SUCH_JOB`.
        restarts: how often it was requeued; equals `SLURM_RESTART_COUNT` within the job, which is unset for 0.
        end: Unix time of its end, according to its time limit if it is running; None if there is none.
    """

    state: str
    restarts: int = 0
    end: float | None = None


def ask(job_id: str) -> Job | None:
    """The job with that `SLURM_JOB_ID`, or None if Slurm cannot be queried."""
    if not (job_id.isascii() and job_id.isdecimal()):
        return None
    ran = _run("squeue", "--noheader", "--all", "--states=all", f"--jobs={job_id}", f"--Format={_FIELDS}")
    if ran is None:
        return None
    if ran.returncode:
        return Job(NO_SUCH_JOB) if "Invalid job id" in ran.stderr else None
    # The last task of a job array has the array's own id, for which Slurm lists all tasks: select its row.
    rows = [row for row in map(str.split, ran.stdout.splitlines()) if len(row) == 4 and row[0] == job_id]
    if not rows:
        return Job(NO_SUCH_JOB)
    _, state, restarts, end = rows[0]
    return Job(state, int(restarts) if restarts.isdecimal() else 0, float(end) if end.isdecimal() else None)


def is_gone(job_id: str, restart: str = "", cluster: str = "") -> bool:
    """Whether a run of a job is certainly over: the job has ended, waits for its next start, or was restarted.

    Also False if this cannot be determined: no Slurm, no answer, or a job of another cluster.

    Args:
        job_id: its `SLURM_JOB_ID`. The job must belong to the current user: a site may hide other users' jobs, which
            would look as if they had ended.
        restart: the `SLURM_RESTART_COUNT` of that run ("" for the first one).
        cluster: its `SLURM_CLUSTER_NAME`.
    """
    if not cluster or cluster != this_cluster():
        return False
    job = ask(job_id)
    if job is None:
        return False
    if job.state not in ALIVE:
        return True
    # While a requeued job completes, the count already is that of the next run, and processes of the last one may be
    # alive.
    return job.state not in ENDING and job.restarts > (int(restart) if restart.isdecimal() else 0)


def this_cluster() -> str:
    """The name of the cluster whose Slurm answers here, "" if none does."""
    name = os.environ.get("SLURM_CLUSTER_NAME", "")
    if name:
        return name
    ran = _run("scontrol", "show", "config")
    lines = ran.stdout.splitlines() if ran is not None else []
    return next((line.partition("=")[2].strip() for line in lines if line.startswith("ClusterName")), "")


def end_time() -> float | None:
    """The Unix time at which the current job ends; None outside a job, without a time limit, or without an answer."""
    told = os.environ.get("SLURM_JOB_END_TIME", "")  # since Slurm 23.02
    if told.isdecimal():
        return float(told)
    job = ask(os.environ.get("SLURM_JOB_ID", ""))
    return None if job is None else job.end


def _run(*command: str) -> subprocess.CompletedProcess[str] | None:
    # A user's SQUEUE_FORMAT and similar variables would change the output; %s gives times independent of the time zone.
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
