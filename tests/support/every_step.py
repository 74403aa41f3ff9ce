"""A small sweep, killed at every single step that it takes on the disk, and gone on with.

A walk runs the sweep again and again, and lets the interposer kill one process before (after, in the midst of) its
first step, its second, … until a run comes to its end with no such step left. So no step can be spared.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import acknowledging
import h5py
import numpy as np
import oracle
import stepping
from killing import PROGRAM, Place
from launch import environment

from lsweep.comm import SerialComm

BLOWS = ("before", "after", "torn")
KILLED = (-9, 128 + 9)  # as a process ends itself, and as mpiexec tells of it
HANGS = 60.0
# Open MPI gives the other ranks seconds to go, one after another; nothing here depends on their going gently.
AT_ONCE = {f"{name}_MCA_odls_base_sigkill_timeout": "0" for name in ("OMPI", "PRTE")}


@dataclass(frozen=True)
class Walk:
    """One sweep whose steps are walked.

    Attributes:
        name: for people.
        mode: of the store.
        ranks: under mpiexec; 0 is one process without MPI.
        victim: the rank that is killed.
        begun: points that an earlier session has made durable.
        part: "sessions" or "but sessions": only some of the steps. The other ranks' messages, upon which rank 0
            writes down how far its session is, come when they come; without these the steps are always the same.
        grid, tile, metrics: the sweep; a batch is a tile.
    """

    name: str
    mode: str
    ranks: int = 0
    victim: int = 0
    begun: int = 0
    part: str = ""
    grid: str = "3x2"
    tile: int = 2
    metrics: int = 2

    @property
    def options(self) -> dict[str, object]:
        return {"mode": self.mode, "grid": self.grid, "tile": self.tile, "metrics": self.metrics}


WALKS = (
    Walk("gather", "gather"),
    Walk("gather, resumed", "gather", begun=2),
    Walk("mpio, rank 0 of 2", "mpio", ranks=2, part="but sessions"),
    Walk("mpio, rank 0 of 2, its sessions", "mpio", ranks=2, part="sessions"),
    Walk("mpio, rank 1 of 2", "mpio", ranks=2, victim=1),
    Walk("mpio, rank 0 of 2, resumed", "mpio", ranks=2, begun=2, part="but sessions"),
    Walk("mpio, rank 0 of 2, its sessions, resumed", "mpio", ranks=2, begun=2, part="sessions"),
)


@dataclass(frozen=True)
class Fall:
    """One run of a walk.

    Attributes:
        walk, blow, number: which.
        step: the call that it was killed at; "" if the sweep came to its end first.
        acknowledged, done: points on record, and points that counted as done in the file.
        own: the points on record that the victim evaluated.
        wrong: what was lost or untrue or went on wrongly; "" if nothing.
    """

    walk: str
    blow: str
    number: int
    step: str
    acknowledged: int
    done: int
    wrong: str
    own: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Ground:
    """Where walks are done: the interposer, a folder, how many at a time, where a file keeps its sessions."""

    folder: Path
    library: Path
    workers: int = 2
    sessions: str = ""
    _number: Iterator[int] = field(default_factory=lambda: count(1))

    def place(self) -> Place:
        return Place(self.folder / f"run{next(self._number)}")


def execute(walk: Walk, place: Place, variables: Mapping[str, str], *more: str) -> tuple[int, str]:
    """Run the sweep to its end; `variables` reach its ranks, not their launcher. Returns the status and stderr."""
    words = [f"{name}={value}" for name, value in walk.options.items()]
    program = [sys.executable, str(PROGRAM), str(place.output), str(place.records), *words, *more]
    launcher = ["mpiexec", "-n", str(walk.ranks)] if walk.ranks else []
    command = [*launcher, *stepping.wrapper(variables), *program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, env=environment(**AT_ONCE))
    return done.returncode, done.stderr


def resume(walk: Walk, output: Path) -> None:
    """Go on in this very process, without MPI: it costs next to nothing.

    Raises:
        AssertionError: it did not end well.
    """
    options = {**acknowledging.DEFAULTS, **{k: str(v) for k, v in walk.options.items()}, "mode": "gather"}
    status = acknowledging.sweep(SerialComm(), output, options)
    assert status == 0, f"resumed: status {status}"


def begin(walk: Walk, ground: Ground) -> Place | None:
    """The earlier session's file and record, if the walk has one."""
    if not walk.begun:
        return None
    place = ground.place()
    status, said = execute(walk, place, {}, f"max={walk.begun}")
    assert status == 75, said
    return place


def settings(walk: Walk, place: Place, ground: Ground, **disturbance: object) -> dict[str, str]:
    """What the interposer is told, so that the walk's part of the steps counts."""
    if walk.part and not ground.sessions:
        ground.sessions = sessions_of(walk, ground)
    part = {"": {}, "sessions": {"only": ground.sessions}, "but sessions": {"but": ground.sessions}}[
        walk.part
    ]
    return stepping.variables(ground.library, place.output.parent, **part, **disturbance)


def sessions_of(walk: Walk, ground: Ground) -> str:
    """FROM-TO, the bytes of the table of sessions in the walk's file."""
    place = ground.place()
    resume(walk, place.output)
    with h5py.File(place.output) as file:
        table = file["sessions/table"].id
        return f"{table.get_offset()}-{table.get_offset() + table.get_storage_size()}"


def reference(walk: Walk, ground: Ground) -> tuple[Place, list[stepping.Step]]:
    """A run that nothing disturbs, and the steps of the process that the walk is about."""
    place = copy(begin(walk, ground), ground.place())
    log = place.records.parent / "log"
    status, said = execute(walk, place, settings(walk, place, ground, log=log, note=place.records))
    assert status == 0, said
    return place, stepping.read_log(log, walk.victim)


def copy(before: Place | None, place: Place) -> Place:
    if before is not None:
        shutil.copytree(before.output.parent, place.output.parent, dirs_exist_ok=True)
        shutil.copytree(before.records, place.records, dirs_exist_ok=True)
    return place


def walk_all(walk: Walk, ground: Ground, blows: Sequence[str] = BLOWS) -> Iterator[Fall]:
    """Every step, by every blow. The last one of each blow has no step: the sweep came to its end."""
    steps = {step.number: step for step in reference(walk, ground)[1] if step.number}
    before = begin(walk, ground)
    with ThreadPoolExecutor(ground.workers) as pool:
        for blow in blows:
            numbers = (n for n in count(1) if blow != "torn" or n not in steps or steps[n].size > 1)
            while True:
                some = [next(numbers) for _ in range(ground.workers)]
                falls = list(pool.map(lambda n, blow=blow: fall(walk, blow, n, before, ground), some))
                yield from falls
                if any(not done.step for done in falls):
                    break


def fall(walk: Walk, blow: str, number: int, before: Place | None, ground: Ground) -> Fall:
    """One run: killed at one step, held to what it acknowledged, and gone on with."""
    place = copy(before, ground.place())
    expected = oracle.truth(walk.grid, walk.metrics)
    log, mark = place.records.parent / "log", place.records.parent / "reached"
    disturbance = {"rank": walk.victim, "at": number, "do": blow, "log": log, "reached": mark}
    step, held, done, own, wrong = "", 0, 0, 0, ""
    try:
        status, said = execute(walk, place, settings(walk, place, ground, **disturbance))
        if mark.exists():
            step = str(stepping.read_log(log, walk.victim)[-1])
        assert (status in KILLED) if step else (status == 0), f"status {status} at {step!r}: {said}"
        held = oracle.check(place.output, place.records, expected)
        done = oracle.progress(place.output, expected)["done"]
        claims = oracle.acknowledged(place.records, walk.metrics)
        own = len(np.unique(claims["point"][claims["rank"] == walk.victim]))
        assert held >= walk.begun
        resume(walk, place.output)
        oracle.check(place.output, place.records, expected)
        oracle.check_complete(place.output, expected)
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    if not wrong:
        shutil.rmtree(place.records.parent)
    return Fall(walk.name, blow, number, step, held, done, wrong, own)


def spared(walk: Walk, falls: Sequence[Fall], ground: Ground) -> list[str]:
    """What an undisturbed run does and no run was killed at, by the kind of call and file: to be empty."""
    steps = [step for step in reference(walk, ground)[1] if step.number]
    missed = []
    for blow in {fall.blow for fall in falls}:
        struck = {kind(fall.step) for fall in falls if fall.blow == blow}
        wanted = [step for step in steps if blow != "torn" or step.size > 1]
        missed += [f"{blow}: {kind(str(step))}" for step in wanted if kind(str(step)) not in struck]
    return missed


def kind(step: str) -> str:
    """A step without what differs from run to run: the random parts of names."""
    return re.sub(r"[0-9a-f]{32}|\.\w{8}\.tmp", "*", step)
