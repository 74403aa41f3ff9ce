"""What a user of `lsweep sweep` sees first, and with --verbose."""

from __future__ import annotations

from pathlib import Path

import project
import pytest

from lsweep import cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    assert cli.main(["sweep", "sweep.toml", *options]) in (0, 75)
    return [line.partition("  ")[2] for line in capsys.readouterr().err.splitlines()]


def test_the_first_lines_say_what_is_swept_and_where_it_goes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = lines(capsys, "--max-points", "4")
    assert first[:3] == [
        "network  net.py:make_net, 123 parameters, weights net.pt",
        "data     npz, 40 train examples",
        "grid     5 × 3 = 15 points, x -1 to 1, y -0.5 to 1",
    ]
    assert first[3].startswith("ranks    1 × cpu (") and first[3].endswith("; fp32, 50 examples per batch")
    assert first[4] == "output   out/sweep.h5 (store gather)"
    assert first[5].startswith("time     about 0:00: the first point took 0.")
    again = lines(capsys)
    assert again[2].endswith("; 4 are done")


def test_details_are_for_verbose(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    auto = ("--set", "evaluate.batch_size=auto", "--set", "output=auto.h5")
    assert not any("fastest" in line for line in lines(capsys, *auto))
    auto = (*auto[:2], "--set", "output=again.h5")
    assert any(
        "examples per batch are the fastest here" in line for line in lines(capsys, *auto, "--verbose")
    )
    assert lines(capsys, *auto, "--quiet") == []
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", "sweep.toml", "--quiet", "--verbose"])
    assert ended.value.code == 2
