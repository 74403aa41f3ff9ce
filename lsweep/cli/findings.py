"""Findings of `lsweep check`: machine, network, data, output, and the time that a job will take."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lsweep.cli import preflight
from lsweep.cli.preflight import Finding, size
from lsweep.cli.session import need_torch
from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.errors import EXIT_BAD_INPUT, EXIT_COMPLETE, InputError, MissingExtra
from lsweep.grid import Axis, Grid
from lsweep.store import audit, choose_mode, opening
from lsweep.store.audit import AuditResult
from lsweep.tools import files, lock, provenance, stop
from lsweep.tools.progress import duration

if TYPE_CHECKING:
    from lsweep.engine.setup import Prepared


def report(config: Config | None, comm: Comm, more_ranks: int | None = None) -> int:
    """Collective: print one line per finding on rank 0 and return the exit status."""
    failed = False
    for finding in findings(config, comm, more_ranks):
        failed |= finding.level == "fail"
        if comm.is_root:
            print(f"{finding.level:<5} {finding.what:<9} {finding.text}", flush=True)
            if finding.advice:
                print(f"{'':<15} -> {finding.advice}", flush=True)
    return EXIT_BAD_INPUT if failed else EXIT_COMPLETE


def findings(config: Config | None, comm: Comm, more_ranks: int | None = None) -> Iterator[Finding]:
    """Collective: the checks in order; those that depend on a failed one are left out."""
    yield _software()
    yield preflight.ranks(comm)
    yield preflight.threads(comm)
    output = Path(config.output) if config else Path("sweep.h5")
    folder = files.existing_parent(output)
    try:
        mode = choose_mode(config.store.mode if config else "auto", comm)
    except InputError as error:
        yield Finding("store", "fail", str(error))
        return
    yield preflight.parallel_io(comm, mode, folder)
    yield preflight.space(comm, config.grid if config else Grid(Axis(), Axis()), 2, folder)
    yield preflight.probe_write(comm, mode, folder, lambda line: print(line, file=sys.stderr, flush=True))
    if config is not None:
        yield _lock(comm, output)
        yield from _sweep(config, comm, output, more_ranks)


def _software() -> Finding:
    known = provenance.collect()
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    return Finding("software", "ok", f"lsweep {known['lsweep']}, Python {known['python']}, {packages}")


def _lock(comm: Comm, output: Path) -> Finding:
    held = comm.on_root(lambda: lock.look(output))
    if held is None:
        return Finding("lock", "ok", "the output is free")
    if held.dead:
        return Finding("lock", "ok", f"left by {held.who}, which no longer exists: the next sweep takes over")
    return Finding(
        "lock", "warn", f"held by {held.who}", "wait for it to end; if it is certainly dead, use --break-lock"
    )


def _sweep(config: Config, comm: Comm, output: Path, more_ranks: int | None) -> Iterator[Finding]:
    """The network, the data, the device, an existing output file, and one point."""
    try:
        need_torch("sweeping needs")
    except MissingExtra as error:
        yield Finding("torch", "fail", str(error))
        return
    from lsweep.engine import setup
    from lsweep.evaluate import problem

    try:
        swept = problem.build(config, comm)
        existing = output if comm.on_root(output.exists) else None
        with setup.prepare(config, swept, comm, output) as ready:
            config = ready.config
            yield _devices(ready, comm)
            pending = comm.on_root(lambda: _pending(existing, config, ready))
            yield Finding("output", "ok", _state(existing, pending, config))
            if existing is not None:
                yield from comm.on_root(lambda: list(_content(existing)))
            yield from _time(ready, comm, pending, more_ranks)
    except InputError as error:
        yield Finding("sweep", "fail", str(error))


def _devices(ready: Prepared, comm: Comm) -> Finding:
    from lsweep.evaluate import device

    everyone = comm.allgather(f"{device.describe(ready.device)}")
    counts = {name: everyone.count(name) for name in sorted(set(everyone))}
    text = ", ".join(f"{count} × {name}" for name, count in counts.items())
    if len(counts) == 1:
        return Finding("devices", "ok", text)
    advice = (
        "results are not bitwise equal on different kinds of devices; schedule.kind = auto is dynamic here"
    )
    return Finding("devices", "warn", text, advice)


def _pending(existing: Path | None, config: Config, ready: Prepared) -> int:
    if existing is None:
        return config.grid.size
    return int((opening.resumable(existing, ready.header) == 0).sum())


def _state(existing: Path | None, pending: int, config: Config) -> str:
    if existing is None:
        return f"{config.output!r} is new: {pending} points"
    return f"{config.output!r} is this sweep's: {pending} of {config.grid.size} points are pending"


def _content(existing: Path) -> Iterator[Finding]:
    """Consistency of the file's points and of its certificate."""
    yield _judged(
        "points",
        audit.points(existing),
        "every status is valid, and settled points have no values",
        "readers ignore these values; `lsweep sweep --complete` evaluates them",
    )
    verdict = audit.certified(existing)
    if verdict is not None:
        what = "the certificate agrees with the file"
        yield _judged("certified", verdict, what, "`lsweep certify` brings it up to date")


def _judged(what: str, verdict: AuditResult, well: str, loose: str) -> Finding:
    if verdict.wrong:
        advice = "the file was damaged or changed: restore a copy of it, or choose another output"
        return Finding(what, "fail", "; ".join(verdict.wrong), advice)
    if verdict.loose:
        return Finding(what, "warn", "; ".join(verdict.loose), loose)
    return Finding(what, "ok", well)


def _time(ready: Prepared, comm: Comm, pending: int, more_ranks: int | None) -> Iterator[Finding]:
    centre = np.zeros((1, len(ready.header.grid.axes)))
    comm.barrier()
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        ready.evaluator.evaluate(centre)
        seconds = time.perf_counter() - start
    slowest = max(comm.allgather(seconds))
    memory = max(comm.allgather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
    yield Finding("point", "ok", f"{slowest:.3g} s on the slowest rank; up to {size(memory)} per rank")
    needed = _needed(pending, slowest, comm.size)
    text = f"about {_long(needed)} for {pending} points on {comm.size} ranks"
    if more_ranks is not None:
        text += f", {_long(_needed(pending, slowest, more_ranks))} on {more_ranks} like these"
    end = comm.on_root(lambda: stop.deadline(None))
    left = math.inf if end is None else end - time.time()
    if needed <= left:
        yield Finding("time", "ok", text)
    elif slowest * 2 > left:
        text += "; this job ends before one is done"
        yield Finding("time", "fail", text, "ask for more time per job")
    else:
        advice = f"about {math.ceil(needed / left)} such jobs: requeue them on exit status 75, as `lsweep slurm` does"
        yield Finding("time", "warn", f"{text}; this job ends in {duration(left)}", advice)


def _long(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 60 else duration(seconds)


def _needed(points: int, seconds: float, count: int) -> float:
    return math.ceil(points / count) * seconds
