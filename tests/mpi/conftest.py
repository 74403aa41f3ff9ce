"""What all tests with ranks share: they need an MPI, and run with each of the stores."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from launch import need_mpi, need_parallel_hdf5


@pytest.fixture(autouse=True)
def _mpi() -> None:
    need_mpi()


@pytest.fixture(params=["gather", "mpio"])
def mode(request: pytest.FixtureRequest) -> str:
    """The store's mode."""
    if request.param == "mpio":
        need_parallel_hdf5()
    return str(request.param)
