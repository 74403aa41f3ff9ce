"""Probes foreign HDF5 files in a child process, so that a crash or hang of the C library becomes one error line.

A few changed bytes suffice to crash HDF5 1.10 or to send it into an infinite loop (tests/fuzzing). So the child makes
the same calls as the parent will, with limits on time and memory, and reports whether they fail.
It cannot detect changes of the file between the probe and the parent's own read.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsweep.errors import FileFormatError, InputError

# More than a valid file of that size needs. CPU seconds are counted after the imports.
CPU_SECONDS, CPU_BYTES = 5, 20 << 20  # 5 seconds, and one more for every 20 MiB of the file
WALL_SECONDS, WALL_BYTES = 90, 2 << 20
MEMORY, MEMORY_PER_BYTE = 512 << 20, 16
# Variables removed from the child's environment, because with them it would act as a rank.
_LAUNCHERS = ("OMPI_", "OPAL_", "ORTE_", "PMI", "PRTE_", "HYDRA_", "MPI_", "MPIR_", "SLURM_")
_PROGRAM = """
import json, sys
request = json.load(sys.stdin)
sys.path[:] = request["path"]
from lsweep.store.probe import serve
serve(request)
"""
_harmless: set[tuple[Any, ...]] = set()


def require(path: Path, *calls: Callable[..., object]) -> None:
    """Check that `call(path, trusted=True)` is harmless for each of `calls`, by making it in a child process.

    Done once per file (device, inode and size), call and process: a sweep's file keeps its size, and readers of a
    running sweep read it every few seconds.

    Raises:
        FileFormatError: a call raised an error, crashed, or needed more time or memory than a valid file does.
    """
    info = path.stat()
    names = [f"{call.__module__}:{call.__qualname__}" for call in calls]
    keys = {(info.st_dev, info.st_ino, info.st_size, name) for name in names}
    if not keys <= _harmless:
        _ask(path, names, info.st_size)
        _harmless.update(keys)


def _ask(path: Path, names: list[str], size: int) -> None:
    cpu, wall = CPU_SECONDS + size // CPU_BYTES, WALL_SECONDS + size // WALL_BYTES
    request = {
        "path": [*sys.path, str(Path(__file__).resolve().parents[2])],
        "file": str(path),
        "calls": names,
        "cpu": cpu,
        "memory": MEMORY + MEMORY_PER_BYTE * size,
    }
    try:
        # Never a bare fork, which MPI libraries do not survive. Without `preexec_fn` this is vfork and exec.
        # A new session, because the terminal's Ctrl-C is meant for the parent, which may continue.
        child = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM],
            input=json.dumps(request).encode(),
            capture_output=True,
            env=_environment(),
            timeout=wall,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise _refusal(path, f"cannot be read within {wall} s") from None
    except OSError as error:  # no child process can be started, which is not the fault of the file
        _open_anyway(path, str(error))
    else:
        _judge(path, child, cpu)


def _judge(path: Path, child: subprocess.CompletedProcess[bytes], cpu: int) -> None:
    with contextlib.suppress(ValueError):
        verdict = json.loads(child.stdout)
        if verdict is not None:
            raise FileFormatError(verdict["message"], key=verdict["key"])
        if child.returncode == 0:
            return
    if child.returncode > 0:  # not the fault of the file: the interpreter or its modules are not available
        _open_anyway(path, child.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    elif -child.returncode == signal.SIGXCPU:
        raise _refusal(path, f"keeps the HDF5 library busy for more than {cpu} s")
    elif child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise _refusal(path, f"crashes the HDF5 library or exhausts the memory ({name})")


def _refusal(path: Path, what: str) -> FileFormatError:
    return FileFormatError(
        f"{str(path)!r} {what}, in a test by a child process; it is damaged or hostile, and was not opened",
        key=str(path),
    )


def _open_anyway(path: Path, reason: str) -> None:
    import logging

    logging.getLogger("lsweep").warning("%s is opened without a test in a child process: %s", path, reason)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHERS)}
    # No filter plug-ins, even if a file requests them; no thread pools, which would cost more than the check.
    return kept | {"HDF5_PLUGIN_PRELOAD": "::", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def serve(request: dict[str, Any]) -> None:
    """In the child: make the calls within the limits; print null, or the error as JSON."""
    calls = []
    for name in request["calls"]:
        module, _, function = name.partition(":")
        calls.append(getattr(importlib.import_module(module), function))
    limit(request["cpu"], request["memory"])
    verdict = None
    try:
        for call in calls:
            call(Path(request["file"]), trusted=True)
    except InputError as error:
        verdict = {"message": str(error), "key": error.key}
    except Exception as error:
        verdict = {
            "message": f"{request['file']!r} cannot be read: {type(error).__name__}: {error}",
            "key": None,
        }
    json.dump(verdict, sys.stdout)
    sys.stdout.flush()


def limit(cpu_seconds: int, memory: int) -> None:
    """Limit this process's further CPU time and address space, and disable core files."""
    import resource

    pages = 0
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = resource.getrusage(resource.RUSAGE_SELF)
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds),
        (resource.RLIMIT_AS, pages * resource.getpagesize() + memory),
    ):
        hard = resource.getrlimit(kind)[1]
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # the system does not support this limit
            resource.setrlimit(kind, (lowered, hard))
