"""What the benchmarks share: their own script on many ranks, turns, and JSON with the environment beside it.

A benchmark that needs ranks starts itself under mpiexec with `--task JSON`; rank 0 prints one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "bench"
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
from launch import environment  # noqa: E402

from lsweep.comm import Comm, connect  # noqa: E402
from lsweep.evaluate.interface import (  # noqa: E402
    Evaluation,
    Evaluator,
)
from lsweep.tools import provenance  # noqa: E402

CORES = len(os.sched_getaffinity(0))


def parser(about: str | None, output: str) -> argparse.ArgumentParser:
    """Of a benchmark: its docstring's first line, where to write, how many rounds, and the ranks' own entrance."""
    made = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    made.add_argument("--output", type=Path, default=RESULTS / output)
    made.add_argument("--rounds", type=int, default=3, help="how often all are measured, in turn")
    made.add_argument("--folder", type=Path, help="where to sweep; the system's temporary folder by default")
    made.add_argument("--task", help=argparse.SUPPRESS)
    return made


def on_ranks(script: str, ranks: int, task: Mapping[str, Any], timeout: float = 900) -> Any:
    """Run `script --task JSON` on so many ranks; what rank 0 printed.

    Raises:
        SystemExit: the job failed; with what it said.
    """
    command = [sys.executable, script, "--task", json.dumps(task)]
    return json.loads(launch(["mpiexec", "-n", str(ranks), *command], timeout=timeout).splitlines()[-1])


def launch(command: Sequence[str], *, timeout: float = 900, stderr: bool = False, **more: str) -> str:
    """Run a command to its end and return its standard output, or error.

    Raises:
        SystemExit: it failed; with what it said.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(**more), cwd=ROOT
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stderr}")
    return done.stderr if stderr else done.stdout


def work(task: str, worker: Callable[[Comm, dict[str, Any]], Any]) -> None:
    """On every rank: do the task; rank 0 prints what came of it."""
    comm = connect(need_mpi=True)
    found = worker(comm, json.loads(task))
    if comm.is_root:
        print(json.dumps(found), flush=True)


class Timed(Evaluator):
    """An evaluator whose points take a known time.

    Args:
        seconds: for a point, from the call until it returns.
        naps: whether ranks sleep meanwhile, so that there may be more of them than cores; else they compute, and as a
            network's points do, they leave nothing in the caches.
    """

    names = ("loss", "accuracy")
    columns = {"batch_size": ("<i4", 0)}  # noqa: RUF012 - as ExactEvaluator has it, so that as much is stored

    def __init__(self, seconds: float, *, naps: bool) -> None:
        super().__init__()
        self._seconds, self._naps = seconds, naps
        # More than a processor's caches hold; each piece takes microseconds, and none is cut off in the middle.
        self._pieces = np.ones((0 if naps else 1024, 8192), dtype=np.float32)
        self.started: float | None = None
        self.spent = 0.0

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """See `Evaluator`. Zero seconds make no system call."""
        start = time.perf_counter()
        self.started = self.started or time.time()
        values, count = np.stack([coordinates.sum(axis=1), coordinates[:, 0]], axis=1), len(coordinates)
        found = Evaluation(values, np.full(count, self._seconds), {"batch_size": np.full(count, 50)})
        self._pass_time(start + self._seconds * count)
        self.spent += time.perf_counter() - start
        return found

    def _pass_time(self, until: float) -> None:
        if self._naps and (left := until - time.perf_counter()) > 0:
            time.sleep(left)
        pieces = itertools.cycle(self._pieces)
        while time.perf_counter() < until:
            piece = next(pieces)
            piece += 1.0


def in_turn(rounds: int, cases: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every case once a round, so that a machine that drifts does so for all."""
    for number in range(rounds):
        for case in cases:
            yield {"round": number, **case}


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {
        "median": significant(statistics.median(values)),
        "least": significant(min(values)),
        "largest": significant(max(values)),
    }


def significant(value: float, digits: int = 5) -> float:
    """Rounded to so many digits: no clock gives more."""
    return float(f"{value:.{digits}g}")


def rounded(value: Any) -> Any:
    """The same, with every float in it rounded."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return significant(value) if isinstance(value, float) else value


def write(path: Path, what: str, result: Mapping[str, Any]) -> None:
    """The result with what it is, and the environment that it was measured in; one line for each measured row."""
    about = provenance.collect() | {"mpi": _mpi_version(), "cores_usable": CORES}
    whole = {"what": what, **rounded(result), "environment": about}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(whole))
    print(path)


def as_text(whole: Mapping[str, Any]) -> str:
    """JSON, lists of objects with one object a line."""
    parts = []
    for key, value in whole.items():
        text = json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\n ")
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            text = f"[\n  {rows}\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read(path: Path) -> dict[str, Any]:
    """A benchmark's JSON.

    Raises:
        SystemExit: it is not there.
    """
    if not path.exists():
        raise SystemExit(f"{path} is not there: run scripts/benchmarks/bench_{path.stem}.py first")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _mpi_version() -> str:
    said = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0]
