"""A process that reads one hostile file after another, so that a crash or a hang is seen and belongs to one file."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).resolve().parent.parent
ROOT = SUPPORT.parents[1]
MEMORY = 1 << 30
WALL_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """How reading a file ended: "accepted", "refused", "raised", "crashed" or "hung"; and in which words."""

    kind: str
    words: str = ""


class Worker:
    """Runs one of `targets.FILES` on files, in a process that is started anew when it dies.

    Args:
        target: its name, or "change" for `structures.change`, which HDF5 does not always survive either.
        cpu_seconds: a file that takes longer hangs. A valid one takes milliseconds.
    """

    def __init__(self, target: str, cpu_seconds: float = 0.5) -> None:
        self._command = [sys.executable, "-m", "fuzzing.worker", target, str(cpu_seconds)]
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, path: Path, *more: Any) -> Outcome:
        """Call the target with the file, and with more of what JSON can say."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([str(path), *more]).encode() + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], WALL_SECONDS)
        line = process.stdout.readline() if ready else b""
        if line:
            return Outcome(*json.loads(line))
        self.close()
        number = -process.returncode
        if not ready or number == signal.SIGPROF:
            return Outcome("hung")
        return Outcome("crashed", signal.Signals(number).name if number > 0 else f"status {-number}")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.close()
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(SUPPORT), str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        return self._process


def serve(target: str, cpu_seconds: float) -> None:
    """In the worker: a path per line in, an outcome per line out."""
    from fuzzing import structures
    from fuzzing.targets import FILES
    from lsweep.store.probe import limit

    run: Any = structures.change if target == "change" else FILES[target]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if target != "change":
        run(Path(os.devnull))  # what is imported on first use takes its time
    limit(1_000_000, MEMORY)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        try:
            path, *more = json.loads(line)
            words = run(Path(path), *more)
            outcome = ["refused" if words else "accepted", words]
        except BaseException as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            place = traceback.extract_tb(error.__traceback__)
            ours = [f"{Path(f.filename).name}:{f.lineno}" for f in place if "lsweep" in f.filename]
            outcome = ["raised", f"{type(error).__name__}: {error} at {' '.join(ours[-2:])}"]
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps(outcome) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))
