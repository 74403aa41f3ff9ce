"""What may happen to a sweep: who is killed, where in its life, and who goes on with it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

VICTIMS = ("a rank", "rank 0", "the launcher", "everything")
# Where in a sweep's life the blow falls, and how often: the stretches last very different times.
PHASES = {"start": 0.15, "creation": 0.2, "sweep": 0.5, "end": 0.15}


@dataclass(frozen=True)
class Plan:
    """One run: a sweep, a blow, and who goes on.

    Attributes:
        mode, ranks, tile, sync, seconds, scenario, schedule: the sweep; `seconds` per point.
        victim: one of VICTIMS.
        phase, fraction: when: a stretch of the sweep's life, and how far into it.
        then_mode, then_ranks: who resumes.
        at_once: whether as soon as the launcher is gone, while orphaned ranks may still live.
    """

    mode: str
    ranks: int
    tile: int
    sync: float
    seconds: float
    scenario: str
    schedule: str
    victim: str
    phase: str
    fraction: float
    then_mode: str
    then_ranks: int
    at_once: bool


def plans(seed: int, modes: Sequence[str], ranks: Sequence[int]) -> Iterator[Plan]:
    """Runs without end: evenly over modes and victims, else at random."""
    rng = random.Random(seed)
    index = 0
    while True:
        index += 1
        mode, victim = modes[index % len(modes)], VICTIMS[index // len(modes) % len(VICTIMS)]
        size = rng.choice(ranks)
        other = modes[(index + 1) % len(modes)]
        yield Plan(
            mode=mode,
            ranks=size,
            tile=rng.choice([1, 2, 5, 11]),
            sync=rng.choice([0.0, 0.0, 0.05]),
            seconds=rng.choice([0.002, 0.01]) * size,
            scenario=rng.choice(["sweep", "sweep", "bad_points"]),
            schedule=rng.choice(["static", "dynamic"]),
            victim=victim,
            phase=rng.choices(list(PHASES), list(PHASES.values()))[0],
            fraction=rng.random(),
            then_mode=rng.choice([mode, other]),
            then_ranks=rng.choice([n for n in (1, 2, 3, 4) if n != size]),
            at_once=rng.random() < 0.5,
        )
