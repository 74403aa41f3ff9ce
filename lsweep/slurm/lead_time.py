"""Lead time: how long before its time limit a job is signalled to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsweep.config import Config
from lsweep.tools.stop import MARGIN

# Points, or tiles of points, that must fit between the signal and the limit: the current one, and two in reserve.
POINTS = 3
# Assumed seconds per point if none was measured and --point-seconds is not given.
ASSUMED = 60.0
# Slurm may send a signal up to this many seconds early.
EARLY = 60


@dataclass(frozen=True)
class Lead:
    """Whole seconds between the signal and the time limit, with an explanation."""

    seconds: int
    why: str


def choose(configs: Sequence[Config], point_seconds: float | None = None) -> Lead:
    """The lead time for sweeps that share a script, determined by the slowest sweep.

    The time per point is the longest measured in the files of sweeps already started, else `point_seconds`, else 60 s.

    Raises:
        FileFormatError: an output exists but cannot be read, so it could not be resumed either.
    """
    slowest, points = _measured(configs)
    source = f"the slowest of the {points} points done so far"
    if not points and point_seconds is not None:
        slowest, source = point_seconds, "--point-seconds"
    elif not points:
        slowest = ASSUMED
        source = "assumed per point: none was measured yet, and --point-seconds is not given"
    tile = max(map(_tile, configs))
    tiles = f"tiles of {tile} " if tile > 1 else ""
    why = f"{POINTS} {tiles}x {slowest:.3g} s ({source}) + {MARGIN:.0f} s to leave"
    return Lead(math.ceil(POINTS * tile * slowest + MARGIN), why)


def _tile(config: Config) -> int:
    """How many points are evaluated between two checks for the signal."""
    from lsweep.store.reader import read_identity

    together: object = config.evaluate.points_at_once
    if together == "auto":  # measured when the file is created, and stored in it
        path = Path(config.output)
        together = read_identity(path)[0].get("points_at_once") if path.exists() else None
    return max(config.schedule.tile, together if isinstance(together, int) else 1)


def _measured(configs: Sequence[Config]) -> tuple[float, int]:
    """The longest time per point in the configurations' files, and the number of points; (0, 0) without files."""
    from lsweep.store.reader import read

    slowest, points = 0.0, 0
    for config in configs:
        path = Path(config.output)
        if path.exists():
            surface = read(path)
            points += int(surface.done.sum())
            slowest = max(slowest, float(surface.seconds[surface.done].max(initial=0.0)))
    return slowest, points
