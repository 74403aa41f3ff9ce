"""What all tests share: the real data and networks, and the rule that CI skips nothing."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from launch import ROOT, need_mpi, need_parallel_hdf5


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for all fast tests, else pytest's own alone: slow tests start ranks, and a Slurm, on all cores."""
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return 2 if everything and config.option.markexpr == "not slow" else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need a GPU are left out where there is none, rather than skipped: CI has none, and skips nothing."""
    absent = [item for item in items if item.get_closest_marker("gpu") is not None]
    if absent and not _has_gpu():
        items[:] = [item for item in items if item not in absent]
        config.hook.pytest_deselected(items=absent)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, here and in what tests start: with a busy second core two are far slower than one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        try:
            import torch
        except ModuleNotFoundError:  # the readers' tests run without it
            yield
            return
        with suppress(ModuleNotFoundError):
            import triton  # noqa: F401  first: Triton crashes if it is loaded after Mesa has drawn with its own LLVM
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C reaches what tests start: a shell makes what it runs in its background deaf to it, children included."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trace in the environment of what may have started these tests: a job of Slurm, or MPI."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "PMI")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _quiet_logger() -> Iterator[None]:
    """The commands set the logger up for a process of their own."""
    log = logging.getLogger("lsweep")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real CIFAR-10, the paper's networks and recorded values."""
    folder = Path(os.environ.get("LSWEEP_SHARED", ROOT.parent / "shared")).resolve()
    if not (folder / "weights").is_dir():
        pytest.skip(f"no shared data at LSWEEP_SHARED={folder}")
    return folder


@pytest.fixture(autouse=True)
def _mpi(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("mpi"):
        need_mpi()


@pytest.fixture(params=["gather", "mpio"])
def mode(request: pytest.FixtureRequest) -> str:
    """The store's mode, for tests with ranks."""
    if request.param == "mpio":
        need_parallel_hdf5()
    return str(request.param)
