"""Where a result comes from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lsweep.tools import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "bench.json").write_text("{}")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_json_and_complete() -> None:
    said = provenance.collect()
    assert json.loads(json.dumps(said)) == said
    assert {"lsweep", "commit", "python", "packages", "system", "processor", "cores", "command"} <= set(said)
    assert {"torch", "numpy", "h5py"} <= set(said["packages"])


def test_commit(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "results.h5").write_text("untracked")
    assert provenance.commit(checkout) == head
    (checkout / "results" / "bench.json").write_text('{"seconds": 1}')
    assert provenance.commit(checkout) == head
    (checkout / "__init__.py").write_text("changed = 1")
    assert provenance.commit(checkout) == f"{head}-dirty"


def test_another_s_repository_does_not_count(checkout: Path) -> None:
    installed = checkout / "site-packages"
    installed.mkdir()
    (installed / "__init__.py").write_text("")
    assert provenance.commit(installed) == ""


def test_outside_a_repository_and_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance.commit(tmp_path) == "" == provenance.commit(tmp_path / "absent")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit(Path(provenance.__file__).parent) == ""
