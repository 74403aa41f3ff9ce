"""Progress of a sweep in numbers and text, shared by page and terminal."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from lsweep.errors import printable
from lsweep.surface import Status, Surface
from lsweep.tools.progress import duration
from lsweep.watch.follow import View
from lsweep.watch.status import best, rate


@dataclass(frozen=True)
class State:
    """The state of a sweep.

    Attributes:
        version, phase, note: see `lsweep.watch.follow.View`; the note has no control characters.
        percent: percentage of points that are no longer pending, rounded down, or None without a file.
        shares: of all points, in [0, 1]: "done", "settled", "failed".
        facts: short remarks: points, rate, time left, ranks, failed and settled points, the best point.
    """

    version: str
    phase: str
    note: str
    percent: float | None
    shares: dict[str, float]
    facts: list[str]

    def as_json(self) -> dict[str, Any]:
        """The same, in JSON's types."""
        return asdict(self)


def state_of(view: View) -> State:
    """The state of a view."""
    note, surface = printable(view.note), view.surface
    if surface is None:
        return State(view.version, view.phase, note, None, {}, [])
    total = surface.status.size
    pending = surface.count(Status.PENDING)
    kinds = {"done": Status.DONE, "settled": Status.SETTLED, "failed": Status.FAILED}
    return State(
        version=view.version,
        phase=view.phase,
        note=note,
        percent=math.floor(1000 * (total - pending) / total) / 10,
        shares={name: surface.count(kind) / total for name, kind in kinds.items()},
        facts=[printable(fact) for fact in _facts(surface, view.phase == "running", pending) if fact],
    )


def _facts(surface: Surface, running: bool, pending: int) -> list[str]:
    total = surface.status.size
    failed, settled = surface.count(Status.FAILED), surface.count(Status.SETTLED)
    pace = rate(surface)
    # Refinement may settle some of the pending points without evaluation.
    bound = "at most " if settled and pending else ""
    return [
        f"{total - pending} of {total} points",
        f"{pace:.3g} points/s" if pace else "",
        f"{bound}{duration(pending / pace)} left" if pace and pending and running else "",
        _ranks(surface),
        f"{failed} failed" if failed else "",
        f"{settled} settled by interpolation" if settled else "",
        f"lowest {best(surface)}" if best(surface) else "",
    ]


def _ranks(surface: Surface) -> str:
    if not surface.sessions:
        return ""
    last = surface.sessions[-1]
    ranks = "1 rank" if last["ranks"] == 1 else f"{last['ranks']} ranks"
    hosts = last["hosts"].split(",")
    where = hosts[0] if len(hosts) == 1 else f"{len(hosts)} hosts"
    job = f", job {last['job']}" if last["job"] else ""
    return f"{ranks} on {where} ({last['mode']}{job})"
