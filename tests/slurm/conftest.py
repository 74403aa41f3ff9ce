"""A project folder, and the script that `lsweep slurm` prints there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import project
import pytest

from lsweep import cli
from lsweep.slurm import cli as verb


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with two configurations, the working directory; lsweep is in no environment of its own."""
    project.make(tmp_path)
    (tmp_path / "other.toml").write_text(project.CONFIG.replace("sweep.h5", "other.h5"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verb, "own_environment", lambda: None)
    return tmp_path


@pytest.fixture
def made(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns the script that the verb prints for its arguments."""

    def script(*arguments: str) -> str:
        assert cli.main(["slurm", *arguments]) == 0
        return capsys.readouterr().out

    return script
