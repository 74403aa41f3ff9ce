"""What all tests share: the real data and networks, and the rule that CI skips nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real CIFAR-10, the paper's networks and recorded values."""
    folder = Path(os.environ.get("LSWEEP_SHARED", ROOT.parent / "shared")).resolve()
    if not (folder / "weights").is_dir():
        pytest.skip(f"no shared data at LSWEEP_SHARED={folder}")
    return folder
