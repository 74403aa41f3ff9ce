"""What a session evaluates (`Plan`), and settings of the session that do not change the result (`Options`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lsweep.grid import Grid
from lsweep.tools.progress import Progress, Silent
from lsweep.tools.stop import Stop
from lsweep.tools.stopwatch import Stopwatch


@dataclass(frozen=True, eq=False)
class Plan:
    """The points of a session and their schedule.

    Attributes:
        output: the output's name in messages.
        grid: all points.
        dynamic: whether ranks draw tiles from a shared counter; otherwise the assignment is static.
        tile: points per tile.
        max_failures: more failed points than this end the job.
        patience: seconds of silence after which a rank is reported.
        points: flat indices of the only points to evaluate, in the order in which they are taken; all others count as
            settled. None: every point, coarse to fine.
    """

    output: str
    grid: Grid
    dynamic: bool = False
    tile: int = 1
    max_failures: int = 5
    patience: float = 120.0
    points: np.ndarray | None = None


@dataclass(frozen=True)
class Options:
    """How one session runs; the result does not depend on it.

    Attributes:
        progress: notified of durable points on rank 0.
        stop: queried between points.
        max_points: the session ends after this many points, over all ranks.
        retry_failed: evaluate failed points again even if no others are pending.
        complete: evaluate every point, including those that refinement settled.
        clock: records how this rank spends its time.
    """

    progress: Progress = field(default_factory=Silent)
    stop: Stop = field(default_factory=Stop)
    max_points: int | None = None
    retry_failed: bool = False
    complete: bool = False
    clock: Stopwatch = field(default_factory=Stopwatch)
