"""Two jobs on one file at once: one writes, the other is refused by name, and the file is the first one's."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import killing
import oracle
import project
import pytest
from launch import _children, environment, need_mpi, need_parallel_hdf5

from lsweep.store.reader import read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
EXPECTED = oracle.truth()


class Racer:
    """A sweep in a process of its own, or in ranks under mpiexec."""

    def __init__(self, ranks: int, place: killing.Place, **options: object) -> None:
        words = [f"{name}={value}" for name, value in options.items()]
        program = [sys.executable, str(killing.PROGRAM), str(place.output), str(place.records), *words]
        launcher = ["mpiexec", "-n", str(ranks)] if ranks else []
        self.process = subprocess.Popen(
            [*launcher, *program], env=environment(), stderr=subprocess.PIPE, text=True
        )

    def end(self) -> tuple[int, list[str]]:
        """The exit status, and what lsweep said."""
        _, said = self.process.communicate(timeout=90)
        assert "Traceback" not in said, said
        return self.process.returncode, [line for line in said.splitlines() if line.startswith("lsweep")]


def wait_for(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.005)


def holder(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(output.with_name(output.name + ".lock").read_text())
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


@pytest.mark.mpi
@pytest.mark.parametrize(("ranks", "mode"), [(0, "gather"), (2, "gather"), (2, "mpio")])
def test_the_second_is_refused_by_name(ranks: int, mode: str, tmp_path: Path) -> None:
    need_mpi()
    need_parallel_hdf5()
    place = killing.Place(tmp_path)
    first = Racer(ranks, place, mode=mode, seconds=0.03 * max(ranks, 1))
    wait_for(lambda: len(oracle.acknowledged(place.records, 4)) >= 3)
    who = holder(place.output)
    pids = _children(first.process.pid) if ranks else [first.process.pid]
    signal_all(pids, signal.SIGSTOP)  # or it might be done before the others ask
    for other_ranks, other_mode in ((0, "gather"), (2, "mpio")):
        status, said = Racer(other_ranks, place, mode=other_mode, patience=0.2).end()
        assert status == 2
        assert len(said) == 1, said
        assert f"is being written by process {who['pid']} on {socket.gethostname()}" in said[0]
        assert holder(place.output) == who
    signal_all(pids, signal.SIGCONT)
    assert first.end() == (0, [])
    assert oracle.check(place.output, place.records, EXPECTED) == killing.POINTS
    oracle.check_complete(place.output, EXPECTED)
    assert [session["points"] for session in read(place.output).sessions] == [killing.POINTS]


@pytest.mark.mpi
@pytest.mark.parametrize("before", ["nothing", "a dead holder"])
@pytest.mark.parametrize(("ranks", "tries"), [(0, 6), (2, 2)])
def test_one_of_several_at_the_same_instant_wins(before: str, ranks: int, tries: int, tmp_path: Path) -> None:
    need_mpi()
    for number in range(tries):
        place, go = killing.Place(tmp_path / str(number)), tmp_path / f"go{number}"
        if before == "a dead holder":
            leave_a_dead_lock(place)
        options = {"seconds": 0.02, "patience": 0, "go": go}
        racers = [Racer(ranks, place, mode="gather", **options) for _ in range(3)]
        wait_for(lambda place=place: len(list(place.records.glob("*.ack"))) == 3 * max(ranks, 1))
        time.sleep(0.3)  # past MPI's start too
        go.touch()
        ends = sorted(racer.end() for racer in racers)
        assert [status for status, _ in ends] == [0, 2, 2], ends
        assert [len(said) for _, said in ends] == [0, 1, 1], ends
        assert oracle.check(place.output, place.records, EXPECTED) == killing.POINTS
        oracle.check_complete(place.output, EXPECTED)


def leave_a_dead_lock(place: killing.Place) -> None:
    """What a sweep leaves that is killed: its lock, with its name."""
    racer = Racer(0, place, mode="gather", seconds=0.05, max=77)
    wait_for(lambda: place.output.exists())
    racer.process.kill()
    racer.process.wait()
    place.output.unlink()
    for record in place.records.iterdir():
        record.unlink()
    assert holder(place.output)["pid"] == racer.process.pid


SLOW = """
import time
from torch import nn

class Slow(nn.Module):
    def forward(self, images):
        time.sleep(0.1)
        return images

def make_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3), Slow())
"""


def test_the_command_itself(tmp_path: Path) -> None:
    """`lsweep sweep` twice on one configuration; then the first is killed, and the next start goes on by itself."""
    project.make(tmp_path)
    (tmp_path / "net.py").write_text(SLOW)
    command = [sys.executable, "-m", "lsweep", "sweep", "sweep.toml", "--quiet"]
    command += ["--set", "store.sync_seconds=0"]
    output = tmp_path / "out" / "sweep.h5"

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)

    first = start()
    wait_for(lambda: output.exists() and read(output).done.any())
    second = start()
    os.kill(first.pid, signal.SIGSTOP)  # or it might be done before the second one asks
    _, said = second.communicate(timeout=90)
    assert second.returncode == 2
    pattern = rf"lsweep: error: 'out/sweep\.h5' is being written by process {first.pid} on \S+ since .*\n"
    assert re.fullmatch(pattern, said), said
    first.kill()
    first.wait()
    before = read(output)
    assert 0 < before.done.sum() < before.done.size
    third = start()
    _, said = third.communicate(timeout=90)
    assert (third.returncode, said) == (0, "")
    after = read(output)
    assert after.complete
    assert after.loss[before.done].tobytes() == before.loss[before.done].tobytes()
    assert oracle.leftovers(output) == []
    assert len(after.sessions) == 2
