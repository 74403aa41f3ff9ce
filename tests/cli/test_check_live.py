"""`lsweep check` under a real srun, as the README has it; and what is said where srun brings no PMI."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cluster as slurm
import launch
import project
import pytest
from cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    missing = slurm.missing()
    if missing:
        launch.absent(missing)
    launch.need_mpi()
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


def srun(running: Cluster, folder: Path, pmi: str) -> subprocess.CompletedProcess[str]:
    command = ["srun", f"--mpi={pmi}", "-n", "2", sys.executable, "-m", "lsweep", "check", "sweep.toml"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=150, cwd=folder, env=running.env, check=False
    )


def test_the_job_is_tried_as_it_will_be_started(running: Cluster, tmp_path: Path) -> None:
    launch.need_parallel_hdf5()
    project.make(tmp_path)
    done = srun(running, tmp_path, "pmix")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line[:1].isalpha()}
    assert "2: 2 on" in lines["ranks"]
    assert "2 ranks wrote a probe through mpio" in lines["probe"]
    assert "15 points on 2 ranks" in lines["time"]


def test_no_pmi_is_one_line(running: Cluster, tmp_path: Path) -> None:
    project.make(tmp_path)
    done = srun(running, tmp_path, "none")
    assert done.returncode == 2, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if "lsweep: error" in line]
    assert len(said) == 1
    assert "without a PMI" in said[0]
    assert "Traceback" not in done.stderr
