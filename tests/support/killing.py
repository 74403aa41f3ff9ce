"""Sweeps that are killed at random, held to what they acknowledged, and resumed by others."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from threading import Lock
from typing import Any

import acknowledging
import oracle
from kill_plans import Plan
from launch import Job, environment

PROGRAM = Path(__file__).resolve().parent / "acknowledging.py"
POINTS, METRICS = 77, 4
HANGS = 60.0  # seconds after which a job is said to hang
ORPHANS = 20.0  # and ranks without a launcher to live on


@dataclass(frozen=True)
class Result:
    """What became of it.

    Attributes:
        plan: the run.
        fell: "before creation", "mid-sweep", "after the last point", or "too late": the job had ended.
        acknowledged: points on record when it was killed, and held to the file.
        done: points that counted as done in the file then.
        left: what lay beside the file then.
        wrong: what was lost or untrue, or went on wrongly; "" if nothing.
    """

    plan: Plan
    fell: str
    acknowledged: int
    done: int
    left: tuple[str, ...]
    wrong: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self.plan), **{k: v for k, v in asdict(self).items() if k != "plan"}}


class Life:
    """How long the stretches of an uninterrupted sweep last here: measured, since machines differ."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, Lock()
        self._known: dict[tuple[Any, ...], dict[str, float]] = {}

    def of(self, plan: Plan) -> dict[str, float]:
        """Seconds per phase of PHASES; measured once per mode and number of ranks, but for the sweep itself."""
        key = plan.mode, plan.ranks
        with self._lock:
            if key not in self._known:
                self._known[key] = self._measure(plan, self._folder / str(len(self._known)))
        return {**self._known[key], "sweep": POINTS * plan.seconds / plan.ranks + 0.1}

    def _measure(self, plan: Plan, folder: Path) -> dict[str, float]:
        place = Place(folder)
        job = start(plan, place)
        begun = time.monotonic()
        marks = {}
        for name in ("creation", "sweep", "end"):
            until(lambda name=name: reached(name, place), job)  # type: ignore[misc]
            marks[name] = time.monotonic() - begun
        if job.wait(HANGS) not in (0, 3):
            raise RuntimeError(f"an uninterrupted sweep failed: {job.err}")
        ended = time.monotonic() - begun
        return {
            "start": marks["creation"],
            "creation": marks["sweep"] - marks["creation"] + 0.005,
            "end": ended - marks["end"],
        }


class Place:
    """Where one run happens: the sweep's folder, and the records' outside of it."""

    def __init__(self, folder: Path) -> None:
        self.output, self.records = folder / "out" / "sweep.h5", folder / "records"
        for path in (self.output.parent, self.records):
            path.mkdir(parents=True)


def reached(phase: str, place: Place) -> bool:
    """Whether a sweep has come to that stretch of its life."""
    if phase == "creation":
        return any(place.output.parent.iterdir())  # its lock comes first
    if phase == "sweep":
        return place.output.exists()
    size = acknowledging.record(METRICS).itemsize
    return sum(path.stat().st_size for path in place.records.glob("*.ack")) >= POINTS * size


def until(condition: Callable[[], bool], job: Job) -> None:
    """Wait for it, or for the job's end."""
    while not condition() and job.process.poll() is None:
        time.sleep(0.0005)


def start(plan: Plan, place: Place) -> Job:
    options: dict[str, object] = {
        "mode": plan.mode,
        "tile": plan.tile,
        "sync": plan.sync,
        "seconds": plan.seconds,
    }
    options |= {"scenario": plan.scenario, "schedule": plan.schedule}
    words = [f"{name}={value}" for name, value in options.items()]
    return Job(plan.ranks, PROGRAM, place.output, place.records, *words)


def strike(job: Job, victim: str, rng: random.Random) -> list[int]:
    """SIGKILL. Returns the ranks' process ids."""
    until(lambda: bool(job.ranks()), job)
    pids = job.ranks()
    marked = {
        "a rank": pids and [rng.choice(pids)],
        "rank 0": pids[:1],
        "the launcher": [job.process.pid],
        "everything": [job.process.pid, *pids],
    }[victim]
    for pid in marked:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return pids


def run(plan: Plan, folder: Path, life: Life, seed: int = 0) -> Result:
    """One run, from the start to the resumed sweep's end."""
    stretch = life.of(plan)[plan.phase]
    place = Place(folder)
    expected = oracle.truth(metrics=METRICS, scenario=plan.scenario)
    job = start(plan, place)
    if plan.phase != "start":
        until(lambda: reached(plan.phase, place), job)
    time.sleep(stretch * plan.fraction)
    pids = strike(job, plan.victim, random.Random(seed))
    fell, held, wrong = "", 0, ""
    left: tuple[str, ...] = ()
    state = {"done": 0, "pending": POINTS}
    try:
        status = settle(job, plan.at_once)
        held = oracle.check(place.output, place.records, expected)
        state = dict(oracle.progress(place.output, expected))
        left = tuple(oracle.leftovers(place.output))
        fell = describe(status, place, state)
        go_on(plan, place, pids)
        oracle.check(place.output, place.records, expected)
        oracle.check_complete(place.output, expected)
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    finally:
        if job.process.poll() is None:
            job.kill()
    return Result(plan, fell, held, state["done"], left, wrong)


def run_all(
    chosen: Iterator[Plan],
    folder: Path,
    wanted: int,
    tell: Callable[[Result], None] = lambda result: None,
    workers: int = 2,
) -> list[Result]:
    """Run plans, some at a time, until so many were killed in time; those that came too late are listed as well."""
    life, results, numbers = Life(folder / "life"), [], count()

    def one(numbered: tuple[int, Plan]) -> Result:
        number, plan = numbered
        result = run(plan, folder / str(number), life, seed=number)
        tell(result)
        if not result.wrong:
            shutil.rmtree(folder / str(number))
        return result

    with ThreadPoolExecutor(workers) as pool:
        while (missing := wanted - sum(result.fell != "too late" for result in results)) > 0:
            some = list(islice(chosen, missing))
            results += pool.map(one, zip(islice(numbers, len(some)), some, strict=True))
    return results


def settle(job: Job, at_once: bool) -> int:
    """Wait for the launcher's end; unless `at_once`, for its ranks' too, which hold its pipes."""
    if at_once:
        return job.process.wait(HANGS)
    job.out, job.err = job.process.communicate(timeout=HANGS)
    return job.process.returncode


def describe(status: int, place: Place, state: dict[str, int]) -> str:
    """Where the blow fell."""
    if status in (0, 3):
        return "too late"
    if not place.output.exists():
        return "before creation"
    return "mid-sweep" if state["pending"] else "after the last point"


def go_on(plan: Plan, place: Place, pids: Sequence[int]) -> None:
    """Resume as planned; the first job's ranks must be gone by then.

    Raises:
        AssertionError: it failed, or somebody of the first job is still there.
    """
    options = {"mode": plan.then_mode, "scenario": plan.scenario, "tile": 3}
    words = [f"{name}={value}" for name, value in options.items()]
    command = [sys.executable, str(PROGRAM), str(place.output), str(place.records), *words]
    if plan.then_ranks > 1 or plan.then_mode == "mpio":
        command = ["mpiexec", "-n", str(plan.then_ranks), *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, env=environment())
    expected = 3 if plan.scenario == "bad_points" else 0
    assert done.returncode == expected, f"resumed: status {done.returncode}: {done.stderr}"
    # Without their launcher they may finish the sweep themselves, and then take a moment to see that it is gone.
    end = time.monotonic() + ORPHANS
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    alive = [pid for pid in pids if is_alive(pid)]
    assert not alive, f"{len(alive)} ranks of the killed job still live"


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
