"""Starting other processes from tests: Python, and Python under mpiexec, with the environment of scripts/env.sh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
CI = os.environ.get("CI", "") not in ("", "0", "false")


def environment(**more: str) -> dict[str, str]:
    """What scripts/env.sh exports, and no trace of an MPI or Slurm job around the tests."""
    foreign = ("OMPI_", "PMI", "PRTE_", "SLURM_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    clean |= {
        "OMP_NUM_THREADS": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        "PYTHONPATH": os.pathsep.join([str(SUPPORT), str(ROOT)]),
    }
    if os.getuid() == 0:
        for name in ("OMPI_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT"):
            clean |= {name: "1", f"{name}_CONFIRM": "1"}
    return clean | more


def python(*arguments: object, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this interpreter to the end."""
    command = [sys.executable, *map(str, arguments)]
    options.setdefault("env", environment())
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def have_mpi() -> bool:
    try:
        import mpi4py  # noqa: F401
    except ImportError:
        return False
    return shutil.which("mpiexec") is not None


def have_parallel_hdf5() -> bool:
    import h5py

    return have_mpi() and bool(h5py.get_config().mpi)


def absent(what: str) -> None:
    """Skip; in CI, where all is installed, fail."""
    if CI:
        pytest.fail(f"{what}, and CI skips nothing")
    pytest.skip(what)


def need_mpi() -> None:
    if not have_mpi():
        absent("mpi4py or mpiexec is absent")


def need_parallel_hdf5() -> None:
    if not have_parallel_hdf5():
        absent("h5py has no MPI")


class Job:
    """`mpiexec -n RANKS python ARGUMENTS`, in a process group of its own."""

    def __init__(self, ranks: int, *arguments: object, cwd: Path | None = None, **more: str) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            ["mpiexec", "-n", str(ranks), sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment(**more),
            start_new_session=True,
        )
        self.out = self.err = ""

    def wait(self, timeout: float = 90) -> int:
        """The exit status; what does not end in time is killed and fails the test."""
        try:
            self.out, self.err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"mpiexec did not end in {timeout} s\n{self.out}\n{self.err}")
        return self.process.returncode

    def kill(self) -> None:
        """SIGKILL to mpiexec and to what it started here."""
        for pid in [self.process.pid, *_children(self.process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.out, self.err = self.process.communicate(timeout=30)

    def wait_for_points(self, output: Path, points: int) -> None:
        """Wait until that many points are durable in `output`."""
        from lsweep.store.reader import read

        end = time.monotonic() + 60
        while time.monotonic() < end:
            if output.exists() and int(read(output).done.sum()) >= points:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        pytest.fail(f"no {points} points in time: {self.out} {self.err}")

    def ranks(self) -> list[int]:
        """The ranks' process ids."""
        return _children(self.process.pid)


def mpi(ranks: int, *arguments: object, timeout: float = 90, cwd: Path | None = None, **more: str) -> Job:
    """Run a job to its end."""
    job = Job(ranks, *arguments, cwd=cwd, **more)
    job.wait(timeout)
    return job


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    found = []
    for task in tasks:
        try:
            found += [int(p) for p in (task / "children").read_text().split()]
        except OSError:
            continue
    return found
