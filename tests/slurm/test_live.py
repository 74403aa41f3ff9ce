"""A real Slurm runs what `lsweep slurm` prints: out of time, requeued, cancelled, an array; and nothing is lost.

All jobs are submitted at the start, for most of the time is waiting: a time limit is at least a minute, and a
signal comes up to a minute early.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

import cluster as slurm
import launch
import numpy as np
import project
import pytest
from cluster import Cluster
from cluster_place import SETTINGS, Place
from launch import python

from lsweep.surface import Status, Surface
from lsweep.tools import slurm_job
from lsweep.tools.stop import MARGIN

pytestmark = [pytest.mark.slurm, pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(420)]
LAUNCHERS = ("srun", "mpirun")

# A loss that takes its time in a job's first life; a rank that takes a second to leave when the others are gone; and
# the last task of an array, which has the array's number as its own, is told to stop.
SLOW = """
import atexit, os, signal, time
from mpi4py import MPI
from torch.nn.functional import cross_entropy

FIRST_LIFE = "SLURM_RESTART_COUNT" not in os.environ
calls = []

def leave():
    MPI.Finalize()
    time.sleep(1)

if MPI.COMM_WORLD.rank == 1:
    atexit.register(leave)

def loss(output, target):
    calls.append(time.sleep(float(os.environ["SLOW"]) if FIRST_LIFE else 0.01))
    if FIRST_LIFE and len(calls) == 10 and os.environ.get("SLURM_ARRAY_TASK_ID") == "2":
        os.kill(os.getpid(), signal.SIGUSR2)
    return cross_entropy(output, target, reduction="none")
"""
# Rank 1 meets an error of its device while both evaluate.
FAILING = """
import time
from mpi4py import MPI
from torch.nn.functional import cross_entropy

calls = []

def loss(output, target):
    calls.append(time.sleep(0.1))
    if len(calls) > 10 and MPI.COMM_WORLD.rank == 1:
        open("failed", "w").write(str(time.time()))
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return cross_entropy(output, target, reduction="none")
"""
# Two ranks do less than eight points a second. The signal of a job of two minutes comes 58 to 88 s after its start
# (32 s of lead, up to 60 s earlier; Slurm looks every 30 s): well after the first point, and long before the last.
LONG = "--ntasks-per-node 2 --set grid.x.num=32 --set grid.y.num=23"
LIMITS = {
    "srun": "--time 2 --point-seconds 4",
    "mpirun": "--time 2 --point-seconds 4 --launcher mpirun",
    "cancelled": "--time 9",
}
SHORT = "--time 5 --point-seconds 1"
QUICK = "0.01"
FAILS = "--set evaluate.loss=failing.py:loss --set grid.x.num=101"


@dataclass
class Jobs:
    """The numbers of the jobs that were submitted at the start."""

    requeued: dict[str, str]
    cancelled: str
    array: str
    templates: dict[str, str]
    failing: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    missing = slurm.missing()
    if missing:
        launch.absent(missing)
    launch.need_mpi()
    folder = tmp_path_factory.mktemp("it's a project")
    config = project.make(folder).read_text()
    (folder / "slow.py").write_text(SLOW)
    (folder / "failing.py").write_text(FAILING)
    for name in "abc":
        (folder / f"{name} 1.toml").write_text(config.replace("sweep.h5", f"array_{name}.h5"))
    running = Cluster(tmp_path_factory.mktemp("slurm"))
    running.start()
    try:
        yield Place(folder, running)
    finally:
        running.stop()


@pytest.fixture(scope="module")
def jobs(place: Place) -> Jobs:
    """All jobs; those that take longest go first, and start on cores that are still free."""
    begun = {
        name: place.submit(place.script(f"sweep.toml {LONG} {limit} --set output={name}.h5", name))
        for name, limit in LIMITS.items()
    }
    for name, job in begun.items():
        place.begun(f"{name}.h5", job)
    array = place.script(f"'a 1.toml' 'b 1.toml' 'c 1.toml' {SHORT} --at-once 2 --set grid.x.num=9", "array")
    failing = place.script(f"sweep.toml {SHORT} --ntasks-per-node 2 --set output=f.h5", "failing", FAILS)
    return Jobs(
        requeued={launcher: begun[launcher] for launcher in LAUNCHERS},
        cancelled=begun["cancelled"],
        array=place.submit(array, SLOW=QUICK),
        templates={name: place.submit_template(name) for name in (*LAUNCHERS, "array")},
        failing=place.submit(failing),
    )


@pytest.fixture(scope="module")
def truth(place: Place) -> Surface:
    """The long sweep on one process, in one go."""
    words = shlex.split(f"{SETTINGS} {LONG[LONG.index('--set') :]} --set output=truth.h5 --quiet")
    done = python(
        "-m",
        "lsweep",
        "sweep",
        "sweep.toml",
        *words,
        cwd=place.folder,
        env=launch.environment(SLOW="0"),
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return place.surface("truth.h5")


def assert_same(surface: Surface, truth: Surface) -> None:
    """Bit for bit, and complete."""
    assert surface.complete and surface.done.all()
    for name in ("loss", "accuracy"):
        assert surface.metrics[name].tobytes() == truth.metrics[name].tobytes(), name
    assert np.array_equal(surface.status, truth.status)


# ---- while they run ------------------------------------------------------------------------------------------


def test_slurm_reads_the_header_as_it_is_meant(place: Place, jobs: Jobs) -> None:
    options = (
        "--account proj1 --partition main --qos normal --constraint a100&nvlink --time 1-2 --gpus-per-node a100:2 "
        "--cpus-per-task 3 --mem 64M --sbatch comment=none --seeds 3,5 --at-once 1 --log 'my logs/%x-%A_%a.log'"
    )
    job = place.submit("--hold", place.script(f"sweep.toml {options}", "full"))
    shown = place.cluster.run("scontrol", "show", "job", job)
    place.cluster.run("scancel", job)
    for field in (
        "JobName=full",
        "ArrayTaskId=0-1%1",
        "Account=proj1",
        "Partition=main",
        "Features=a100&nvlink",
        "TimeLimit=1-02:00:00",
        "CPUs/Task=3",
        "MinMemoryNode=64M",
        "TresPerNode=gres:gpu:a100:2",
        "Requeue=1",
        "Comment=none",
        f"StdOut={place.folder}/my logs/full-{job}_4294967294.log",
    ):
        assert field in shown, (field, shown)


def test_what_slurm_says_of_a_job(place: Place, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", place.cluster.env["SLURM_CONF"])
    assert slurm_job.this_cluster() == "lsweep"
    assert slurm_job.ask("999999") == slurm_job.Job(slurm_job.NO_SUCH_JOB)
    job = place.submit("--time=1", "--ntasks=1", "--wrap", "sleep 100")
    place.wait(job, "RUNNING")
    monkeypatch.setenv("SLURM_JOB_ID", job)
    end = slurm_job.end_time()
    assert end is not None and 0 < end - time.time() <= 60
    assert not slurm_job.is_gone(job, "", "lsweep")
    place.cluster.run("scontrol", "requeue", job)
    place.wait(job, "PENDING")
    assert slurm_job.is_gone(job, "", "lsweep")
    place.wait(job, "RUNNING")
    assert slurm_job.is_gone(job, "", "lsweep") and not slurm_job.is_gone(job, "1", "lsweep")
    place.cluster.run("scancel", job)
    place.wait(job, "CANCELLED")
    assert slurm_job.is_gone(job, "1", "lsweep")
    monkeypatch.setenv("SLURM_CONF", str(place.folder / "absent"))
    monkeypatch.setattr(slurm_job, "PATIENCE", 1.0)
    assert slurm_job.ask(job) is None and not slurm_job.is_gone(job, "1", "lsweep")


def test_scancel_loses_nothing(place: Place, jobs: Jobs, truth: Surface) -> None:
    """What was acknowledged before is there after; submitted again, the sweep becomes what it would have been."""
    before = place.begun("cancelled.h5", jobs.cancelled)
    place.cluster.run("scancel", jobs.cancelled)
    place.wait(jobs.cancelled, "CANCELLED")
    after = place.surface("cancelled.h5")
    assert not after.complete and after.done[before.done].all()
    for name, values in after.metrics.items():
        assert values[before.done].tobytes() == before.metrics[name][before.done].tobytes()
        assert values[after.done].tobytes() == truth.metrics[name][after.done].tobytes()
    # Written anew, the script knows how long points take.
    script = place.script(f"sweep.toml {LONG} --time 9 --set output=cancelled.h5", "again")
    need = 3 * float(np.nanmax(after.seconds)) + MARGIN
    assert f"--signal=USR2@{math.ceil(need)}\n" in script.read_text()
    assert f"the slowest of the {after.count(Status.DONE)} points done so far" in script.read_text()
    place.completed(place.submit(script, SLOW=QUICK))
    assert_same(place.surface("cancelled.h5"), truth)


def test_a_rank_that_fails_ends_the_job(place: Place, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within ten seconds, with the traceback in the log, and nothing that would queue it again."""
    monkeypatch.setenv("SLURM_CONF", place.cluster.env["SLURM_CONF"])
    place.wait(jobs.failing, "FAILED")
    job = slurm_job.ask(jobs.failing)
    assert job is not None and job.end is not None and job.restarts == 0
    assert job.end - float((place.folder / "failed").read_text()) < 10
    log = place.logs(jobs.failing)
    assert "Traceback (most recent call last)" in log and "RuntimeError: CUDA error: an illegal" in log
    assert not place.surface("f.h5").complete


def test_an_array_of_three_sweeps(place: Place, jobs: Jobs) -> None:
    """The last one leaves early, and is queued again alone."""
    place.completed(jobs.array)
    surfaces = [place.surface(f"out/array_{name}.h5") for name in "abc"]
    for surface in surfaces:
        assert surface.shape == (3, 9)
        assert_same(surface, surfaces[0])
    assert [len(surface.sessions) for surface in surfaces] == [1, 1, 2]
    tasks = place.cluster.run(
        "squeue", "-h", "-t", "all", "-j", jobs.array, "-O", "ArrayTaskID:9,RestartCnt:9"
    )
    assert sorted(line.split() for line in tasks.splitlines()) == [["0", "0"], ["1", "0"], ["2", "1"]]


@pytest.mark.parametrize("name", [*LAUNCHERS, "array"])
def test_the_templates(name: str, place: Place, jobs: Jobs) -> None:
    place.completed(jobs.templates[name])
    for output in (
        ("out/sweep_seed0.h5", "out/sweep_seed1.h5") if name == "array" else (f"{name}_template.h5",)
    ):
        surface = place.surface(output)
        assert surface.complete and surface.done.all() and set(np.unique(surface.rank)) == {0, 1}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_longer_than_its_time_limit(
    launcher: str, place: Place, jobs: Jobs, truth: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told in time, it leaves with 75, is requeued by itself, and becomes what it would have been in one go."""
    monkeypatch.setenv("SLURM_CONF", place.cluster.env["SLURM_CONF"])
    number = jobs.requeued[launcher]
    place.completed(number)
    job, log = slurm_job.ask(number), place.logs(number)
    assert job is not None and job.restarts >= 1, log
    assert log.count("stopped: received SIGUSR2") == job.restarts, log
    surface = place.surface(f"{launcher}.h5")
    assert_same(surface, truth)
    assert set(np.unique(surface.rank)) == {0, 1}
    assert len(surface.sessions) == job.restarts + 1
