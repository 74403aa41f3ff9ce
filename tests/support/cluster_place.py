"""A project folder whose sweeps go to a test's Slurm."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import Cluster
from launch import ROOT, python

from lsweep.store.reader import read
from lsweep.surface import Status, Surface

TEMPLATES = ROOT / "slurm"
SETTINGS = "--set evaluate.loss=slow.py:loss --set store.sync_seconds=0.5"


@dataclass
class Place:
    """A project folder, and the Slurm that its jobs go to."""

    folder: Path
    cluster: Cluster

    def script(self, arguments: str, name: str, settings: str = SETTINGS) -> Path:
        """What `lsweep slurm` writes."""
        words = [*shlex.split(arguments), *shlex.split(settings), "--job-name", name, "-o", f"{name}.sbatch"]
        made = python("-m", "lsweep", "slurm", *words, cwd=self.folder)
        assert made.returncode == 0, made.stderr
        return self.folder / f"{name}.sbatch"

    def submit(self, *words: object, SLOW: str = "0.25") -> str:
        """Submit a script and return the job's number."""
        command = ["env", f"SLOW={SLOW}", "sbatch", "--parsable", *map(str, words)]
        return self.cluster.run(*command, cwd=self.folder).strip()

    def submit_template(self, name: str) -> str:
        """The same for a template, its header edited; the array goes over seeds, the others have files of their own."""
        header = ["--ntasks-per-node=2", "--cpus-per-task=1", "--gpus-per-node=0", "--time=10"]
        more = ["--array=0-1"] if name == "array" else []
        settings = [] if name == "array" else ["--set", f"output={name}_template.h5"]
        return self.submit(*header, *more, TEMPLATES / f"sweep_{name}.sbatch", "sweep.toml", *settings)

    def begun(self, output: str, job: str) -> Surface:
        """The sweep as it is in mid-course."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if (self.folder / output).exists():
                surface = self.surface(output)
                if surface.count(Status.DONE) >= 20:
                    return surface
            time.sleep(0.2)
        pytest.fail(f"{output} was not begun\n{self.logs(job)}\n{self.cluster.logs()}")

    def wait(self, job: str, *states: str, timeout: float = 300) -> list[str]:
        """The states of the job's tasks, once all of them are among `states`."""
        end = time.monotonic() + timeout
        while True:
            found = self.cluster.run("squeue", "-h", "--states=all", f"--jobs={job}", "-o", "%T").split()
            if found and set(found) <= set(states):
                return found
            if time.monotonic() > end:
                pytest.fail(f"job {job} is {found}, not {states}\n{self.logs(job)}\n{self.cluster.logs()}")
            time.sleep(0.5)

    def completed(self, job: str) -> None:
        """Wait until the job has ended well, however often it is requeued."""
        found = self.wait(job, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        assert set(found) == {"COMPLETED"}, self.logs(job)

    def logs(self, job: str) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f"*-{job}*.log")))

    def surface(self, output: str) -> Surface:
        return read(self.folder / output)
