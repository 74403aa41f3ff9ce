"""File lock: one writer per output, by a sidecar file that names its holder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsweep.errors import InputError, LockError
from lsweep.tools import slurm_job

# Seconds before a holder on this host is taken at its word: ranks outlive a launcher that was killed by about one.
PATIENCE = 4.0


@dataclass(frozen=True)
class Lock:
    """A held lock: `path` is the sidecar file, `token` this session's mark in it."""

    path: Path
    token: str

    def check(self) -> None:
        """Raise if the lock is no longer this session's: another one has taken the file over.

        Raises:
            LockError: stop writing at once.
        """
        if _read(self.path).get("token") != self.token:
            raise LockError(
                f"{str(self.path)!r} is no longer held by this run (another one took over, or it was removed); "
                "it stops writing"
            )

    def release(self) -> None:
        """Let go, if it is still ours."""
        if _read(self.path).get("token") == self.token:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: `who` in words, `dead` if it is surely gone."""

    who: str
    dead: bool


def look(output: Path) -> Holder | None:
    """Who holds the lock of an output file, without touching it."""
    holder = _read(_path(output))
    return Holder(_name(holder), _is_dead(holder)) if holder else None


def acquire(output: Path, *, break_lock: bool = False) -> Lock:
    """Take the lock of an output file.

    A holder that is no longer alive is replaced: on this host when its process is gone or the machine was
    rebooted, elsewhere when Slurm says that its job has ended or was requeued. Any other one is respected
    unless `break_lock`. One on this host gets a moment to go.

    Raises:
        InputError: another session holds it; the message names host, process and job.
    """
    path = _path(output)
    token = uuid.uuid4().hex
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            _create(path, token)
            return Lock(path, token)
        except FileExistsError:
            holder = _read(path)
            if break_lock or not holder or _is_dead(holder):
                _bury(path, holder)
            elif holder.get("host") == socket.gethostname() and time.monotonic() < patience:
                time.sleep(0.1)
            else:
                raise InputError(
                    f"{str(output)!r} is being written by {_name(holder)}; if that is surely gone, use "
                    "--break-lock",
                    key=str(path),
                ) from None
        except OSError as error:
            raise InputError(f"cannot lock {str(output)!r}: {error}", key=str(path)) from None


def _bury(path: Path, holder: dict[str, Any]) -> None:
    """Remove the lock of `holder`, and no other: whoever was faster may have put its own there by now.

    Raises:
        InputError: what is there is no file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"cannot lock: {str(path)!r} is no file of lsweep's; remove it", key=str(path))
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        # Only who has this very file locked removes it. Without, on a file system that has no locks, a moment is left
        # between looking and removing.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(path, descriptor) and _read(path).get("token") == holder.get("token"):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is still the one at that path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _create(path: Path, token: str) -> None:
    holder = {
        "token": token,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "boot_id": _boot_id(),
        "cluster": os.environ.get("SLURM_CLUSTER_NAME", ""),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "restart": os.environ.get("SLURM_RESTART_COUNT", ""),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    # Written aside and linked into place: nobody ever reads half a lock.
    draft = path.with_name(f"{path.name}.{token}")
    try:
        draft.write_text(json.dumps(holder))
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # a pipe would be waited for
            return {}
        holder = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_dead(holder: dict[str, Any]) -> bool:
    same_job = holder.get("job") and holder.get("job") == os.environ.get("SLURM_JOB_ID")
    if same_job and holder.get("restart") != os.environ.get("SLURM_RESTART_COUNT", ""):
        return True  # an earlier life of this very job, ended by its requeue
    if holder.get("host") != socket.gethostname():
        # Whether a process elsewhere lives only its scheduler knows.
        job, restart, cluster = (str(holder.get(key, "")) for key in ("job", "restart", "cluster"))
        return bool(job) and slurm_job.is_gone(job, restart, cluster)
    if holder.get("boot_id") != _boot_id():
        return True
    try:
        pid = int(holder.get("pid", 0))
        os.kill(pid, 0)
    except (ProcessLookupError, ValueError, TypeError, OverflowError):
        return True
    except PermissionError:
        pass
    # Numbers of processes are used again; another one that bears this number was started at another time.
    started = holder.get("started", "")
    return bool(started) and _started(pid) not in ("", started)


def _started(pid: int) -> str:
    """When a process was started, in ticks since the boot; "" where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _path(output: Path) -> Path:
    return output.with_name(output.name + ".lock")


def _name(holder: dict[str, Any]) -> str:
    job = f" (job {holder['job']})" if holder.get("job") else ""
    return f"process {holder.get('pid')} on {holder.get('host')}{job} since {holder.get('since')}"
