"""Leaving in time: limits, deadlines and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lsweep.errors import ConfigError
from lsweep.tools import stop
from lsweep.tools.stop import MARGIN, SIGNALS, Stop, deadline


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    monkeypatch.setattr(stop.time, "time", lambda: 1000.0)
    return 1000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        (" 90 ", 90),
        ("1:30", 90),
        ("01:00:00", 3600),
        ("2-03:04:05", 2 * 86400 + 3 * 3600 + 4 * 60 + 5),
        ("100:00", 6000),
    ],
)
def test_limits(text: str, seconds: float, now: float) -> None:
    assert deadline(text) == now + seconds - min(MARGIN, seconds / 10)


@pytest.mark.parametrize(
    "text", ["", "x", "1h", "-5", "1:", ":5", "1-5", "1-5:6", "1:2:3:4", "1.5", "1 2", "1-2-3:4"]
)
def test_malformed_limits(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\[\[HH:\]MM:\]SS or D-HH:MM:SS"):
        deadline(text)


def test_the_earlier_of_limit_and_job_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deadline(None) is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1050")
    assert deadline(None) == 1050 - MARGIN and deadline("10") == 1009 and deadline("100") == 1030
    monkeypatch.setenv("SLURM_JOB_END_TIME", "soon")
    assert deadline(None) is None


def test_due_two_points_before_the_deadline(now: float) -> None:
    assert not Stop().due(1e9)
    assert not Stop(now).due(0) and Stop(now - 1).due(0)
    assert not Stop(now + 10).due(5) and Stop(now + 10).due(5.1)


def test_the_first_reason_counts() -> None:
    it = Stop(0.0)
    assert not it.reason
    it.request("first")
    it.request("second")
    assert it.due() and it.reason == "first"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_requests_a_stop(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    it = Stop()
    with it.on_signals():
        assert not it.due()
        os.kill(os.getpid(), number)
        assert it.due() and it.reason == f"received {number.name}"
        assert signal.getsignal(number) is signal.SIG_DFL
    assert before == [signal.getsignal(n) for n in SIGNALS]


def test_a_second_signal_acts_as_without_lsweep() -> None:
    code = """
import os, signal
from lsweep.tools.stop import Stop
stop = Stop()
with stop.on_signals():
    os.kill(os.getpid(), signal.SIGTERM)
    print(stop.reason, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here", flush=True)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "received SIGTERM\n" and ran.returncode == -signal.SIGTERM


def test_a_handler_that_python_did_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {n: signal.getsignal(n) for n in SIGNALS}
    monkeypatch.setattr(stop.signal, "getsignal", lambda number: None)
    with Stop().on_signals():
        pass
    monkeypatch.undo()
    assert all(signal.getsignal(n) is signal.SIG_DFL for n in SIGNALS)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_time_is_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert deadline("60") == pytest.approx(time.time() + 54, abs=5)
