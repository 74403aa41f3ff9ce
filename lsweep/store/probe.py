"""Probes foreign HDF5 files in a child process, so that a crash or hang of the C library becomes one error line.

A few changed bytes suffice to crash HDF5 1.10 or to keep it in a loop for ever (tests/fuzzing). So the child makes
the very calls that the parent is about to make, with limits on time and memory, and says whether they are refused.
What may happen to the file between that look and the parent's own is beyond it.
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

# Beyond what an honest file of that size needs; the CPU's seconds count from after the imports.
CPU_SECONDS, CPU_BYTES = 5, 20 << 20  # so many seconds, and one more for so many bytes
WALL_SECONDS, WALL_BYTES = 90, 2 << 20
MEMORY, MEMORY_PER_BYTE = 512 << 20, 16
# A child that inherits these takes itself for a rank.
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
    """See that `call(path, trusted=True)` of each of `calls` does no harm, by making it in a child process.

    Once per file (device, inode and size), call and process: a sweep's file keeps its size, and readers of a
    running one come back every few seconds.

    Raises:
        FileFormatError: what a call raises; or it crashed, or took more time or memory than any such file needs.
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
        # Never a bare fork: MPI's libraries don't survive one. Without `preexec_fn` this is vfork and exec.
        # In a session of its own, because the terminal's Ctrl-C is for the parent, which may want to go on.
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
    except OSError as error:  # no child can be had, which is nothing against the file
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
    if child.returncode > 0:  # not the file's doing: the interpreter or its modules are not to be had
        _open_anyway(path, child.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    elif -child.returncode == signal.SIGXCPU:
        raise _refusal(path, f"keeps the HDF5 library busy for more than {cpu} s")
    elif child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise _refusal(path, f"crashes the HDF5 library, or takes all memory ({name})")


def _refusal(path: Path, what: str) -> FileFormatError:
    return FileFormatError(
        f"{str(path)!r} {what}, as a child process found; it is damaged or hostile, and not opened",
        key=str(path),
    )


def _open_anyway(path: Path, reason: str) -> None:
    import logging

    logging.getLogger("lsweep").warning(
        "%s is opened without a look at it in a child process: %s", path, reason
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHERS)}
    # No filter plug-ins, whatever a file asks for; no thread pools, which would cost more than the look.
    return kept | {"HDF5_PLUGIN_PRELOAD": "::", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def serve(request: dict[str, Any]) -> None:
    """In the child: make the calls within the limits; print null, or the refusal as JSON."""
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
    """Let this process use that much more time and address space, and leave no core file."""
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
        with contextlib.suppress(ValueError, OSError):  # a system that does not know that limit
            resource.setrlimit(kind, (lowered, hard))
