"""`lsweep check`: what would fail is said before a job waits in a queue, and nothing is left behind."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import project
import pytest
from launch import mpi, need_mpi, need_parallel_hdf5, python

from lsweep import config
from lsweep.cli import findings, preflight
from lsweep.cli.preflight import Finding
from lsweep.comm import SerialComm
from lsweep.store import writer
from lsweep.store.base import Batch
from lsweep.tools import files
from lsweep.tools.lock import acquire


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "net", raising=False)
    for name in ("SLURM_JOB_ID", "SLURM_JOB_END_TIME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def found(*overrides: str, ranks: int | None = None) -> dict[str, Finding]:
    settings = config.load("sweep.toml", overrides)
    return {finding.what: finding for finding in findings.findings(settings, SerialComm(), ranks)}


def test_all_is_well(here: Path) -> None:
    before = sorted(p.name for p in here.rglob("*"))
    findings = found(ranks=5)
    assert {f.level for f in findings.values()} == {"ok"}
    assert list(findings) == [
        *("software", "ranks", "threads", "store", "space", "probe", "lock", "devices", "output"),
        *("point", "time"),
    ]
    assert findings["output"].text == "'out/sweep.h5' is new: 15 points"
    assert "for 15 points on 1 ranks" in findings["time"].text
    assert findings["time"].text.endswith("on 5 like these")
    assert sorted(p.name for p in here.rglob("*") if p.suffix != ".pyc" and p.name != "__pycache__") == before


@pytest.mark.slow
def test_the_command(here: Path) -> None:
    machine = python("-m", "lsweep", "check", cwd=here)
    assert machine.returncode == 0, machine.stderr
    assert [line.split()[:2] for line in machine.stdout.splitlines()][-1] == ["ok", "probe"]
    bad = python("-m", "lsweep", "check", "sweep.toml", "--set", "model.weights=absent.pt", cwd=here)
    assert bad.returncode == 2
    assert bad.stdout.splitlines()[-1].startswith("fail  sweep     no weights file at 'absent.pt'")
    assert "Traceback" not in bad.stderr
    assert python("-m", "lsweep", "check", "--ranks", "0", cwd=here).returncode == 2


@pytest.mark.slow
def test_a_begun_sweep(here: Path) -> None:
    done = python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", "--max-points", "4", cwd=here)
    assert done.returncode == 75, done.stderr
    content = (here / "out/sweep.h5").read_bytes()
    assert found()["output"].text == "'out/sweep.h5' is this sweep's: 11 of 15 points are pending"
    other = found("directions.seed=5")["sweep"]
    assert other.level == "fail"
    assert "its directions.x is" in other.text
    assert (here / "out/sweep.h5").read_bytes() == content


def test_who_holds_the_output(here: Path) -> None:
    held = acquire(here / "out.h5")
    finding = found("output=out.h5")["lock"]
    assert finding.level == "warn"
    assert f"process {os.getpid()} on " in finding.text
    assert "--break-lock" in finding.advice
    holder = json.loads(held.path.read_text())
    held.path.write_text(json.dumps(holder | {"boot_id": "an earlier one"}))
    gone = found("output=out.h5")["lock"]
    assert gone.level == "ok"
    assert "the next sweep takes over" in gone.text
    assert held.path.exists()


def test_more_threads_than_cores(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    finding = preflight.threads(SerialComm())
    assert finding.level == "warn"
    assert "4096 threads on" in finding.text


@pytest.mark.parametrize(("seconds", "level"), [(3600, "ok"), (20.0, "fail"), (10.0, "fail")])
def test_the_job_s_own_end(seconds: float, level: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + seconds)))
    assert found()["time"].level == level


def test_a_sweep_longer_than_the_job(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + 3600)))
    monkeypatch.setattr(findings, "_needed", lambda points, seconds, count: 10_000.0)
    finding = found()["time"]
    assert finding.level == "warn"
    assert finding.advice.startswith("about 3 such jobs")


def test_no_room(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda folder: 5000)
    finding = found()["space"]
    assert finding.level == "fail"
    assert "5 kB free" in finding.text


def test_a_write_that_fails(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: writer.FileWriter, batch: Batch) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.FileWriter, "write", full)
    finding = found()["probe"]
    assert finding.level == "fail"
    assert "No space left on device" in finding.text
    assert not list(here.rglob(".lsweep-check*"))


def test_a_write_that_is_not_read_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = writer.FileWriter.write

    def forget(self: writer.FileWriter, batch: Batch) -> None:
        batch.values[:] = 7.0
        write(self, batch)

    monkeypatch.setattr(writer.FileWriter, "write", forget)
    assert found()["probe"].text.endswith("what was read back is not what the ranks wrote")


class Elsewhere(SerialComm):
    """Two hosts that use MPICH, as far as `allgather` says."""

    library = "MPICH Version: 4.1"

    def allgather(self, value: object) -> list:  # type: ignore[type-arg]
        return [value, "elsewhere" if isinstance(value, str) else value]


@pytest.mark.parametrize(
    ("kind", "hdf5", "mode", "level", "advice"),
    [
        ("nfs4", (1, 14, 3), "mpio", "fail", "refuses independent writes on NFS"),
        ("nfs4", (1, 10, 8), "mpio", "warn", "NFS is slow"),
        ("nfs4", (1, 14, 3), "gather", "ok", ""),
        ("lustre", (1, 14, 3), "mpio", "ok", ""),
        ("ext4", (1, 14, 3), "mpio", "fail", "ranks on several hosts"),
        ("tmpfs", (1, 14, 3), "gather", "warn", "ranks on several hosts"),
        ("", (1, 14, 3), "mpio", "ok", ""),
    ],
)
def test_modes_and_file_systems(
    kind: str, hdf5: tuple[int, ...], mode: str, level: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "filesystem_kind", lambda folder: kind)
    monkeypatch.setattr(preflight.opening, "hdf5_version", lambda: hdf5)
    finding = preflight.parallel_io(Elsewhere(), mode, Path("/"))
    assert finding.level == level
    assert advice in finding.advice


def test_kinds_of_file_systems(tmp_path: Path) -> None:
    assert files.filesystem_kind(Path("/proc/self")) == "proc"
    assert files.filesystem_kind(Path("/dev/shm")) == "tmpfs"
    assert files.filesystem_kind(tmp_path) not in ("", "proc")
    assert files.existing_parent(tmp_path / "a" / "b" / "c.h5") == tmp_path
    assert 0 < files.free_bytes(tmp_path) < 1 << 60


HANGING = """
import sys, time
from pathlib import Path
from lsweep.cli import preflight
from lsweep.comm import SerialComm
from lsweep.store import writer
preflight.HANGS_AFTER = 0.3
writer.FileWriter.write = lambda self, batch: time.sleep(60)
preflight.probe_write(SerialComm(), "gather", Path(sys.argv[1]), print)
"""


def test_a_write_that_hangs_ends(tmp_path: Path) -> None:
    start = time.monotonic()
    done = python("-c", HANGING, tmp_path)
    assert time.monotonic() - start < 30
    assert done.returncode == 2
    assert "hangs; try store.mode" in done.stdout


@pytest.mark.mpi
@pytest.mark.slow
def test_on_two_ranks(here: Path) -> None:
    need_mpi()
    need_parallel_hdf5()
    job = mpi(2, "-m", "lsweep", "check", "sweep.toml", "--set", "store.mode=mpio", cwd=here)
    assert job.process.returncode == 0, job.err
    lines = {line.split()[1]: line for line in job.out.splitlines()}
    assert "2 ranks wrote a probe through mpio" in lines["probe"]
    assert lines["ranks"].startswith("ok    ranks     2: 2 on ")
    assert not list(here.rglob("*.h5*"))
    bad = mpi(2, "-m", "lsweep", "check", "sweep.toml", "--set", "data.path=absent.npz", cwd=here)
    assert bad.process.returncode == 2
    assert "Traceback" not in bad.err
    assert sum(line.startswith("fail") for line in bad.out.splitlines()) == 1


def test_sizes() -> None:
    assert [preflight.size(n) for n in (12, 1500, 2.5e6, 3e15)] == ["12 B", "1.5 kB", "2.5 MB", "3e+03 TB"]
