"""Progress in lines, by a clock of our own."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from lsweep.tools.progress import Bar, Lines, Silent, default, duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(seconds_per_point: float, points: int, done: int = 0) -> list[str]:
    written: list[str] = []
    clock = Clock()
    lines = Lines(written.append, clock)
    lines.start(points, done)
    for _ in range(points - done):
        clock.now += seconds_per_point
        lines.advance(1)
    lines.stop()
    return written


def test_often_at_first_then_every_minute() -> None:
    elapsed = [line.split(", ")[2] for line in lines_of(1.0, 300)]
    assert elapsed[:5] == [f"{t} elapsed" for t in ("0:05", "0:15", "0:35", "1:15", "2:15")]
    assert elapsed[-1] == "5:00 elapsed" and len(elapsed) == 8


def test_what_a_line_says() -> None:
    first = lines_of(5.0, 10)[0].split("  ", 1)[1]
    assert first == "1/10 points (10.0 %), 0.2 points/s, 0:05 elapsed, 0:45 left"


def test_a_resume_counts_its_own_rate() -> None:
    first = lines_of(5.0, 10, done=8)[0].split("  ", 1)[1]
    assert first == "9/10 points (90.0 %), 0.2 points/s, 0:05 elapsed, 0:05 left"


def test_nothing_done_says_no_rate() -> None:
    assert lines_of(1.0, 4, done=4)[0].split("  ", 1)[1] == "4/4 points (100.0 %), 0 points/s, 0:00 elapsed"
    assert "0/0 points" in lines_of(1.0, 0)[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599.5, "1:00:00"),
        (100 * 3600 + 1, "100:00:01"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert isinstance(default(), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert isinstance(default(), Bar)


@pytest.mark.parametrize(
    ("config", "kind"), [({"IPKernelApp": {}}, Bar), ({"TerminalIPythonApp": {}}, Lines)]
)
def test_a_bar_in_a_notebook(
    config: dict[str, Any], kind: type[Bar] | type[Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    shell = SimpleNamespace(config=config)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    assert isinstance(default(), kind)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))  # type: ignore[arg-type]
    assert isinstance(default(), Lines)  # imported, and not running


@pytest.mark.parametrize("make", [Bar, Silent])
def test_a_bar_and_silence(make: type[Bar] | type[Silent], capsys: pytest.CaptureFixture[str]) -> None:
    progress = make()
    progress.start(4, 1)
    progress.advance(3)
    progress.stop()
    assert ("4/4" in capsys.readouterr().err) == (make is Bar)


def test_stop_without_a_start() -> None:
    Bar().stop()


def test_what_is_settled_is_not_to_be_done() -> None:
    written: list[str] = []
    lines = Lines(written.append, Clock())
    lines.start(10, 0)
    lines.advance(4)
    lines.settle(6)
    lines.stop()
    assert "4/4 points (100.0 %)" in written[-1]
    Silent().settle(3)
    bar = Bar()
    bar.start(10, 4)
    bar.settle(6)
    assert bar._bar.total == bar._bar.n == 4
    bar.stop()
