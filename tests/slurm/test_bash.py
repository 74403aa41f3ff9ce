"""What bash makes of a script of `lsweep slurm`: any path arrives, 75 alone is requeued, mpirun is waited for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import launch
import project
import pytest
from launch import ROOT

TEMPLATES = ROOT / "slurm"

STUB = """#!/bin/bash
printf '%s\\0' "$(basename "$0")" "$@" $'\\n' >>"$CALLS"
[[ $(basename "$0") != "$SLOW" ]] || { trap 'sleep 0.5; exit 75' USR2; while :; do sleep 0.1; done; }
[[ $(basename "$0") != "$FAILING" ]] || exit "$STATUS"
[[ $(basename "$0") != squeue ]] || echo "$STATE"
"""


class Bash:
    """Runs a script where srun and its like only note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "stubs"
        self.folder.mkdir()
        for name in ("srun", "mpirun", "module", "squeue", "scontrol", "apptainer"):
            (self.folder / name).write_text(STUB)
            (self.folder / name).chmod(0o755)

    def start(self, script: str, slow: str = "", failing: str = "", **more: str) -> subprocess.Popen[str]:
        more |= {"CALLS": str(self.folder / "calls"), "SLOW": slow, "FAILING": failing, "SLURM_JOB_ID": "7"}
        more = {"STATUS": "75", "STATE": "RUNNING"} | more
        environment = launch.environment(**more)
        environment["PATH"] = f"{self.folder}:{environment['PATH']}"
        return subprocess.Popen(["bash", "-c", script], env=environment, text=True, stderr=subprocess.PIPE)

    def run(self, script: str, **more: str) -> int:
        process = self.start(script, **more)
        process.communicate(timeout=30)
        return process.returncode

    def calls(self) -> list[list[str]]:
        """The commands that were run, word by word."""
        path = self.folder / "calls"
        text = path.read_text() if path.exists() else ""
        return [call.split("\0")[:-1] for call in text.split("\n\0")[:-1]]


NASTY = [
    "a b.toml",
    "it's.toml",
    'say "hi".toml',
    "$(touch pwned).toml",
    "`touch pwned`;&|<>*?.toml",
    "-x.toml",
    "ü\\.toml",
]


@pytest.mark.parametrize("name", NASTY)
def test_any_path_arrives_as_it_is(name: str, here: Path, made: Callable[..., str]) -> None:
    folder = here / "it's a $HOME"
    folder.mkdir()
    for path in (here / name, folder / name):
        path.write_text(project.CONFIG)
    bash = Bash(here)
    output = f"output={name}.h5"
    for config in (f"it's a $HOME/{name}", *([] if name.startswith("-") else [name])):
        assert bash.run(made(config, "--set", output, "--container", "my $im.sif")) == 0
        apptainer = str(bash.folder / "apptainer")
        words = [apptainer, "exec", "my $im.sif", "lsweep", "sweep", config, "--set", output]
        assert bash.calls()[-1] == ["srun", "--mpi=pmix", "--kill-on-bad-exit=1", *words]
    assert not (here / "pwned").exists()


def test_a_path_that_looks_like_an_option(here: Path, made: Callable[..., str]) -> None:
    (here / "-x.toml").write_text(project.CONFIG)
    bash = Bash(here)
    assert bash.run(made("--", "-x.toml")) == 0
    assert bash.calls()[-1][-1] == "./-x.toml"


def test_environment_and_modules(here: Path, made: Callable[..., str]) -> None:
    folder = here / "my $env/bin"
    folder.mkdir(parents=True)
    bash = Bash(here)
    shutil.move(bash.folder / "srun", folder / "srun")
    script = made("sweep.toml", "--venv", "my $env", "--module", "openmpi/4", "--module", "hdf5")
    assert bash.run(script) == 0
    assert bash.calls()[0] == ["module", "load", "openmpi/4", "hdf5"] and bash.calls()[1][0] == "srun"
    # A module that is not there ends the job before it computes with other libraries.
    (bash.folder / "calls").unlink()
    assert bash.run(script, failing="module", STATUS="1") == 1
    assert len(bash.calls()) == 1


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
@pytest.mark.parametrize("status", [0, 1, 2, 3, 75, 143])
def test_requeued_on_75_alone(launcher: str, status: int, here: Path, made: Callable[..., str]) -> None:
    bash = Bash(here)
    script = made("sweep.toml", "--launcher", launcher)
    assert bash.run(script, failing=launcher, STATUS=str(status)) == status
    requeued = [call for call in bash.calls() if call[0] == "scontrol"]
    assert requeued == ([["scontrol", "requeue", "7"]] if status == 75 else [])


@pytest.mark.parametrize(("state", "requeued"), [("RUNNING", True), ("COMPLETING", False), ("", True)])
def test_a_cancelled_job_stays_cancelled(
    state: str, requeued: bool, here: Path, made: Callable[..., str]
) -> None:
    """But where the controller does not answer, the job is requeued."""
    bash = Bash(here)
    assert bash.run(made("sweep.toml"), failing="srun", STATE=state) == 75
    assert bash.calls()[1] == ["squeue", "--noheader", "--jobs=7", "--format=%T"]
    assert len(bash.calls()) == 2 + requeued


def test_tasks_of_an_array(here: Path, made: Callable[..., str]) -> None:
    """Each its sweep, and each requeues itself alone: the last task's SLURM_JOB_ID is that of the array."""
    bash = Bash(here)
    task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "failing": "srun"}
    assert bash.run(made("sweep.toml", "other.toml"), **task) == 75
    assert bash.run(made("sweep.toml", "--seeds", "5,2018"), **task) == 75
    calls = [call for call in bash.calls() if call[0] != "squeue"]
    assert calls[0][-3:] == ["lsweep", "sweep", "other.toml"]
    assert calls[2][-5:] == ["lsweep", "sweep", "sweep.toml", "--seeds", "2018"]
    assert calls[1] == calls[3] == ["scontrol", "requeue", "7_1"]


def test_the_template_of_an_array(here: Path) -> None:
    bash = Bash(here)
    text = (TEMPLATES / "sweep_array.sbatch").read_text()
    for arguments, words in (("a.toml 'b c.toml'", ["b c.toml"]), ("a.toml", ["a.toml", "--seeds", "1"])):
        task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}
        assert bash.run(f"set -- {arguments}\n{text}", **task) == 0
        assert bash.calls()[-1][3:] == ["lsweep", "sweep", *words]
    assert bash.run(text) == 2


def test_mpirun_is_told_and_waited_for(here: Path, made: Callable[..., str]) -> None:
    bash = Bash(here)
    process = bash.start(made("sweep.toml", "--launcher", "mpirun"), slow="mpirun")
    end = time.monotonic() + 20
    while not bash.calls() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.2)  # noted, but its trap is set a moment later
    os.kill(process.pid, signal.SIGUSR2)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75, err
    assert [call[0] for call in bash.calls()] == ["mpirun", "squeue", "scontrol"]
