"""A file that crashes the C library, keeps it busy or fills the memory is one line, and a child's trouble only."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fuzzing.reproducers import CRASHES, HANGS
from launch import absent, mpi, need_mpi, python
from store_contract import GRIDS, Place, close, results

from lsweep.comm import SerialComm
from lsweep.errors import EXIT_BAD_INPUT, FileFormatError
from lsweep.store import probe
from lsweep.store.opening import prepare_output
from lsweep.store.reader import read, read_directions, read_identity
from lsweep.store.validation import read_direction_file

HDF5 = h5py.version.hdf5_version


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_harmless", set())


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    store = Place("gather", SerialComm(), tmp_path).open(GRIDS["plane"])
    store.put(results([0, 1]))
    close(store)
    return tmp_path / "sweep.h5"


def written(folder: Path, content: bytes, name: str = "bad.h5") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def refused(path: Path, *calls: Any) -> str:
    with pytest.raises(FileFormatError) as caught:
        probe.require(path, *calls)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the children were asked for."""
    asked: list[str] = []
    run = subprocess.run

    def spy(*args: Any, **options: Any) -> Any:
        asked.append(options["input"].decode())
        return run(*args, **options)

    monkeypatch.setattr(probe.subprocess, "run", spy)
    return asked


# Files that HDF5 does not survive ------------------------------------------------------------------------


def test_the_crash_is_a_crash(tmp_path: Path) -> None:
    """Without the child lsweep would die: else these tests say nothing."""
    if HDF5 != "1.10.8":
        absent(f"the reproducer is for HDF5 1.10.8, this is {HDF5}")
    path = written(tmp_path, CRASHES)
    died = python("-c", f"from lsweep.store.reader import read; read({str(path)!r}, trusted=True)")
    assert died.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("call", [read, read_identity, read_directions])
def test_a_crash_is_one_line(call: Any, tmp_path: Path) -> None:
    path = written(tmp_path, CRASHES)
    with pytest.raises(FileFormatError, match=r"bad\.h5") as caught:
        call(path)
    assert caught.value.exit_status == EXIT_BAD_INPUT
    if HDF5 == "1.10.8":
        assert "crashes the HDF5 library or exhausts the memory (SIGSEGV)" in str(caught.value)
    assert path.read_bytes() == CRASHES


@pytest.mark.slow
def test_a_hang_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CPU_SECONDS", 1)
    said = refused(written(tmp_path, HANGS), read)
    if HDF5 == "1.10.8":
        assert "keeps the HDF5 library busy for more than 1 s" in said


@pytest.mark.parametrize("verb", ["status", "render", "export"])
def test_the_command_line_survives_a_crash(verb: str, tmp_path: Path) -> None:
    done = python("-m", "lsweep", verb, written(tmp_path, CRASHES))
    assert (done.returncode, done.stdout) == (EXIT_BAD_INPUT, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("lsweep: error: ") and "bad.h5" in line


def test_as_directions_and_as_output(tmp_path: Path) -> None:
    path = written(tmp_path, CRASHES)
    with pytest.raises(FileFormatError):
        prepare_output(path)
    with pytest.raises(FileFormatError):  # it has no directions, and saying so crashes nothing
        read_direction_file(path)


@pytest.mark.mpi
@pytest.mark.slow
def test_under_mpirun_all_ranks_leave_with_one_line(tmp_path: Path) -> None:
    need_mpi()
    import project

    project.make(tmp_path)
    (tmp_path / "out").mkdir()
    written(tmp_path / "out", CRASHES, "sweep.h5")
    job = mpi(2, "-m", "lsweep", "sweep", "sweep.toml", cwd=tmp_path)
    said = [line for line in job.err.splitlines() if line.startswith("lsweep: ")]
    assert job.process.returncode == EXIT_BAD_INPUT, job.err
    assert len(said) == 1 and "sweep.h5" in said[0] and "Traceback" not in job.err


# Any other child ----------------------------------------------------------------------------------------


def abort(path: Path, *, trusted: bool) -> None:
    assert trusted
    os.abort()


def allocate(path: Path, *, trusted: bool) -> None:
    np.ones(4 << 30, dtype=np.uint8)


def spin(path: Path, *, trusted: bool) -> None:
    while True:
        pass


def sleep(path: Path, *, trusted: bool) -> None:
    time.sleep(60)


def stumble(path: Path, *, trusted: bool) -> None:
    raise AttributeError("nobody\nexpected this")


def tell(path: Path, *, trusted: bool) -> None:
    """What the child sees."""
    ranks = [name for name in os.environ if name.startswith(("OMPI", "PMI", "SLURM", "PRTE"))]
    loaded = [name for name in ("mpi4py", "torch", "matplotlib") if name in sys.modules]
    core = resource.getrlimit(resource.RLIMIT_CORE)[0]
    raise FileFormatError(
        f"{path.name!r} ranks {ranks} loaded {loaded} core {core} sid {os.getsid(0) == os.getpid()}"
    )


CHILDREN = {
    abort: r"crashes the HDF5 library or exhausts the memory \(SIGABRT\)",
    allocate: "cannot be read: .*MemoryError",
    spin: "keeps the HDF5 library busy for more than 1 s",
    sleep: "cannot be read within 3 s",
    stumble: "cannot be read: AttributeError: nobody expected this",
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CHILDREN)
def test_what_ends_a_child(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CPU_SECONDS", 1)
    if call is sleep:
        monkeypatch.setattr(probe, "WALL_SECONDS", 3)
    with pytest.raises(FileFormatError, match=CHILDREN[call]):
        probe.require(written(tmp_path, b"anything"), call)


@pytest.mark.parametrize("name", ["a b", "quo'te\"s", "new\nline", "\x1b[31mred", "-c", "ä", "\udcff"])
def test_a_child_is_no_rank_and_light_whatever_the_file_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_SIZE", "SLURM_NTASKS", "PRTE_X"):
        monkeypatch.setenv(variable, "7")
    said = refused(written(tmp_path, b"", name), tell)
    assert said.endswith("ranks [] loaded [] core 0 sid True")


def test_a_module_beside_the_file_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("h5py", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('i_was_here', 'w')")
    assert read(sweep).loss[0, 0] == 0.25
    assert not (tmp_path / "i_was_here").exists()


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false"])
def test_without_a_child_the_file_is_opened_with_a_warning(
    interpreter: str, sweep: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter)
    assert read(sweep).loss[0, 0] == 0.25
    assert "opened without a test in a child process" in caplog.text


# How often ------------------------------------------------------------------------------------------------


def test_once_per_file_and_call(sweep: Path, children: list[str]) -> None:
    for _ in range(3):
        read(sweep)
    assert len(children) == 1
    read_identity(sweep)
    assert len(children) == 2
    os.replace(written(sweep.parent, sweep.read_bytes(), "new.h5"), sweep)
    read(sweep)
    assert len(children) == 3


@pytest.mark.slow
def test_a_refused_file_is_looked_at_again(sweep: Path, children: list[str]) -> None:
    valid = sweep.read_bytes()
    with h5py.File(sweep, "r+") as file:
        del file["loss"]
    for _ in range(2):
        with pytest.raises(FileFormatError):
            read(sweep)
    sweep.write_bytes(valid)
    assert read(sweep).loss[0, 0] == 0.25
    assert len(children) == 3


def test_a_sweep_has_one_look_at_a_file_that_it_resumes_and_none_at_its_own(
    tmp_path: Path, children: list[str]
) -> None:
    place, path = Place("gather", SerialComm(), tmp_path), tmp_path / "sweep.h5"
    prepare_output(path)
    close(place.open(GRIDS["plane"]))
    assert children == []
    prepare_output(path)
    read_directions(path)
    close(place.open(GRIDS["plane"]))
    assert len(children) == 1


def test_trusted_files_are_read_at_once(sweep: Path, children: list[str]) -> None:
    assert read(sweep, trusted=True).loss[0, 0] == 0.25
    assert children == []
