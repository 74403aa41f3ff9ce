"""One writer per file: who is respected, who is taken over from, and by whom."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lsweep.errors import InputError, LsweepError
from lsweep.tools import lock, slurm_job
from lsweep.tools.lock import acquire
from lsweep.tools.slurm_job import NO_SUCH_JOB, Job


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "sweep.h5"


def forge(output: Path, **changes: Any) -> Path:
    """A lock of this process as another one would have left it, with some fields changed."""
    held = acquire(output)
    holder = json.loads(held.path.read_text()) | {"token": "another's"} | changes
    held.path.write_text(json.dumps(holder))
    return held.path


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_lock_says_who(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    held = acquire(output)
    assert held.path.name == "sweep.h5.lock"
    holder = json.loads(held.path.read_text())
    assert holder["token"] == held.token
    assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
    assert (holder["job"], holder["restart"]) == ("4711", "2")
    assert holder["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    held.release()
    assert list(output.parent.iterdir()) == []


def test_a_second_writer_is_refused_by_name(output: Path) -> None:
    held = acquire(output)
    content = held.path.read_bytes()
    with pytest.raises(InputError) as caught:
        acquire(output)
    message = str(caught.value)
    assert f"process {os.getpid()} on {socket.gethostname()}" in message
    assert "--break-lock" in message
    assert held.path.read_bytes() == content
    held.check()


def test_break_lock_is_explicit_and_the_loser_notices(output: Path) -> None:
    first = acquire(output)
    second = acquire(output, break_lock=True)
    second.check()
    with pytest.raises(LsweepError, match="no longer held"):
        first.check()
    first.release()
    second.check()
    second.release()
    with pytest.raises(LsweepError):
        second.check()


def test_a_dead_process_gives_way(output: Path) -> None:
    forge(output, pid=dead_pid())
    held = acquire(output)
    held.check()
    assert [p.name for p in output.parent.iterdir()] == ["sweep.h5.lock"]


def test_a_process_that_is_about_to_end_is_waited_for(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranks of a launcher that was killed live for a second more; who starts again at once must not fail."""
    monkeypatch.setattr(lock, "PATIENCE", 30.0)
    with subprocess.Popen(["sleep", "0.5"]) as child:
        forge(output, pid=child.pid)
        waiter = threading.Thread(target=child.wait)  # a child must be waited for to be gone
        waiter.start()
        acquire(output).check()
        waiter.join()


def test_another_process_of_the_same_number_is_not_the_holder(output: Path) -> None:
    ours = forge(output)
    with pytest.raises(InputError):
        acquire(output)
    ours.unlink()
    forge(output, started="12")
    acquire(output).check()


def test_a_rebooted_machine_gives_way(output: Path) -> None:
    forge(output, boot_id="before")
    acquire(output).check()


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"pid": "x", "host": 3}'])
def test_a_damaged_lock(output: Path, damage: str) -> None:
    """Locks appear whole: what is no lock protects nobody. One that names another host is respected."""
    lock.acquire(output).path.write_text(damage)
    if "host" in damage:
        with pytest.raises(InputError):
            acquire(output)
    else:
        acquire(output).check()


def test_another_host_is_respected(output: Path) -> None:
    path = forge(output, host="elsewhere", pid=dead_pid(), boot_id="its own", job="12")
    with pytest.raises(InputError, match=r"on elsewhere \(job 12\)"):
        acquire(output)
    assert json.loads(path.read_text())["token"] == "another's"
    acquire(output, break_lock=True).check()


@pytest.mark.parametrize(
    ("job", "gives_way"),
    [
        (Job("RUNNING", restarts=2), False),
        (Job("COMPLETING", restarts=3), False),  # requeued, and processes of the last life may be alive
        (Job("RUNNING", restarts=3), True),
        (Job("PENDING", restarts=3), True),
        (Job("TIMEOUT", restarts=2), True),
        (Job(NO_SUCH_JOB), True),
        (None, False),
    ],
)
def test_a_holder_elsewhere_gives_way_when_slurm_says_that_its_job_is_over(
    job: Job | None, gives_way: bool, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(slurm_job, "ask", lambda job_id: asked.append(job_id) or job)
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "ours")
    forge(output, host="elsewhere", pid=dead_pid(), job="12", restart="2", cluster="ours")
    if gives_way:
        acquire(output).check()
    else:
        with pytest.raises(InputError, match=r"on elsewhere \(job 12\)"):
            acquire(output)
    assert asked[0] == "12"


def test_a_job_of_another_cluster_is_not_asked_for(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_job, "ask", lambda job_id: Job(NO_SUCH_JOB))
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "ours")
    forge(output, host="elsewhere", job="12", cluster="theirs")
    with pytest.raises(InputError):
        acquire(output)


def test_an_earlier_life_of_a_requeued_job_gives_way(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    forge(output, host="elsewhere", job="12", restart="")
    with pytest.raises(InputError):
        acquire(output)  # the same life: perhaps a second step
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    acquire(output).check()


def test_someone_who_saw_a_dead_holder_too_does_not_bury_the_new_one(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = forge(output, pid=dead_pid())
    dead = lock._read(path)
    winner = acquire(output)
    lock._bury(path, dead)  # what a slower one does next
    winner.check()
    assert [p.name for p in output.parent.iterdir()] == ["sweep.h5.lock"]


@pytest.mark.slow
def test_one_of_many_at_once_wins(output: Path) -> None:
    forge(output, pid=dead_pid())
    code = (
        "import sys\nfrom pathlib import Path\nfrom lsweep.errors import InputError\n"
        "from lsweep.tools import lock\nlock.PATIENCE = 0\nacquire = lock.acquire\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try:\n    held = acquire(Path(sys.argv[1]))\n    print('won', flush=True)\n"
        "except InputError:\n    print('lost', flush=True)\n"
        "sys.stdin.readline()\n"  # a holder lives while others try
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(output)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = []
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    for racer in racers:
        assert racer.stdout is not None
        answers.append(racer.stdout.readline().strip())
    for racer in racers:
        racer.communicate("\n", timeout=30)
    assert sorted(answers) == ["lost", "lost", "lost", "won"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot lock"):
        acquire(tmp_path / "absent" / "sweep.h5")


def test_a_full_disk_leaves_nothing_behind(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left"):
        acquire(output)
    assert list(output.parent.iterdir()) == []


def test_what_is_no_file_in_the_lock_s_place(output: Path) -> None:
    """It is not waited for, and not removed: one line."""
    os.mkfifo(output.with_name("sweep.h5.lock"))
    with pytest.raises(InputError, match="cannot lock"):
        acquire(output)


def test_many_that_meet_one_dead_holder_leave_the_winner_alone(output: Path) -> None:
    """Whoever comes second to bury finds another file there, at every moment."""
    for _ in range(30):
        path = forge(output, pid=dead_pid() if _ == 0 else 2**22 - 1)
        dead = lock._read(path)
        buriers = [threading.Thread(target=lock._bury, args=(path, dead)) for _ in range(4)]
        for burier in buriers:
            burier.start()
        held = acquire(output)
        for burier in buriers:
            burier.join()
        held.check()
        held.release()
