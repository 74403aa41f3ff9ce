"""File lock: a sidecar file that names its holder ensures one writer per output."""

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

# Seconds to wait for a holder on this host to exit: ranks outlive a killed launcher by about one second.
PATIENCE = 4.0


@dataclass(frozen=True)
class Lock:
    """A held lock: `path` is the sidecar file, `token` identifies this session in it."""

    path: Path
    token: str

    def check(self) -> None:
        """Check that this session still holds the lock.

        Raises:
            LockError: another session has taken the lock over; stop writing at once.
        """
        if _read(self.path).get("token") != self.token:
            raise LockError(
                f"the lock {str(self.path)!r} is no longer held by this run, which stops writing: "
                "another run took it over, or it was removed"
            )

    def release(self) -> None:
        """Remove the lock if this session still holds it."""
        if _read(self.path).get("token") == self.token:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Holder:
    """The holder of a lock: `who` describes it, `dead` is true if it certainly no longer exists."""

    who: str
    dead: bool


def look(output: Path) -> Holder | None:
    """Return the holder of an output file's lock without changing the lock; None if it is free."""
    holder = _read(_path(output))
    return Holder(_name(holder), _is_dead(holder)) if holder else None


def acquire(output: Path, *, break_lock: bool = False) -> Lock:
    """Acquire the lock of an output file.

    The lock of a dead holder is taken over: on this host if its process no longer exists or the machine was
    rebooted, on another host if Slurm reports that its job has ended or was requeued. The lock of any other holder is
    respected unless `break_lock` is set. A holder on this host has `PATIENCE` seconds to exit.

    Raises:
        InputError: another session holds the lock; the message names host, process and job.
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
                    f"{str(output)!r} is being written by {_name(holder)}; wait for it to end, or use --break-lock if "
                    "that process is certainly dead",
                    key=str(path),
                ) from None
        except OSError as error:
            raise InputError(f"cannot lock {str(output)!r}: {error}", key=str(path)) from None


def _bury(path: Path, holder: dict[str, Any]) -> None:
    """Remove the lock of `holder` only: a faster session may have replaced it by its own meanwhile.

    Raises:
        InputError: the lock's path is not a regular file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"cannot lock: {str(path)!r} is not a regular file; remove it", key=str(path))
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        # Only the process that holds an flock on this file removes it. On a file system without locks a short race
        # remains between the check and the removal.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(path, descriptor) and _read(path).get("token") == holder.get("token"):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the file at that path."""
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
    # Written under another name and then linked, so that no process ever reads half a lock.
    draft = path.with_name(f"{path.name}.{token}")
    try:
        draft.write_text(json.dumps(holder))
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # reading a named pipe would block
            return {}
        holder = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_dead(holder: dict[str, Any]) -> bool:
    same_job = holder.get("job") and holder.get("job") == os.environ.get("SLURM_JOB_ID")
    if same_job and holder.get("restart") != os.environ.get("SLURM_RESTART_COUNT", ""):
        return True  # an earlier run of this job, which ended when it was requeued
    if holder.get("host") != socket.gethostname():
        # Only the scheduler knows whether a process on another host is alive.
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
    # Process ids are reused; another process with this id has a different start time.
    started = holder.get("started", "")
    return bool(started) and _started(pid) not in ("", started)


def _started(pid: int) -> str:
    """A process's start time in clock ticks since boot; "" if the system does not report it."""
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
