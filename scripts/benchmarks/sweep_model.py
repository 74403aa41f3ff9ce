"""A discrete-event model of a sweep: ranks at their points, rank 0's mailbox, the file system, the shared counter.

It follows lsweep/engine/loop.py step by step, with a cost for each step. Whatever takes time is an argument. A heap of
events and no library: simpy's processes, at microseconds for each of a million points, would only make it slow.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Costs:
    """Seconds of each step.

    Attributes:
        engine: between two points, on every rank.
        commit: to make a batch durable, whatever its size.
        point: for each point in it.
        file_system: of `commit`, what the file system can do for one rank at a time only.
        message: to receive one on rank 0.
        ticket: of the shared counter, which serves one rank at a time.
    """

    engine: float = 0.0
    commit: float = 0.0
    point: float = 0.0
    file_system: float = 0.0
    message: float = 0.0
    ticket: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Which sweep: `kind` is "static" or "dynamic", `mode` "gather" or "mpio"."""

    ranks: int
    kind: str = "static"
    mode: str = "mpio"
    sync_seconds: float = 5.0

    @property
    def interval(self) -> float:
        """Seconds for which a batch is open; see lsweep/store/base.py."""
        return self.sync_seconds / 2 if self.mode == "gather" and self.ranks > 1 else self.sync_seconds


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        makespan: seconds from the first point until all is durable.
        efficiency: the points' own seconds over the ranks' seconds.
        busy: the share of the makespan in which each shared resource was at work; rank 0's own points don't count.
    """

    makespan: float
    efficiency: float
    busy: dict[str, float] = field(default_factory=dict)


def simulate(plan: Plan, costs: Costs, seconds: np.ndarray) -> Result:
    """Sweep points that take `seconds`, (points,), in the order in which they are dealt."""
    return _Sweep(plan, costs, seconds).run()


class _Sweep:
    def __init__(self, plan: Plan, costs: Costs, seconds: np.ndarray) -> None:
        self.plan, self.costs, self.seconds = plan, costs, seconds.tolist()
        self.gather, self.dynamic = plan.mode == "gather", plan.kind == "dynamic"
        self.open = [0] * plan.ranks  # points in each rank's batch
        self.opened = [0.0] * plan.ranks
        # Each rank closes its first batch at another time.
        self.early = [plan.interval * rank / plan.ranks for rank in range(plan.ranks)]
        self.next = list(range(plan.ranks))  # the number of each rank's next point
        self.granted = [0.0] * plan.ranks  # when it has that number
        self.numbers = 0
        self.mail: list[tuple[float, int]] = []  # to rank 0: when it arrives, points that it carries
        self.arrived, self.written = 0, -math.inf
        self.file_system_free = self.counter_free = 0.0
        self.busy = {"rank 0": 0.0, "file system": 0.0, "counter": 0.0}

    def run(self) -> Result:
        """Event by event; each is a rank that comes from a point."""
        events: list[tuple[float, int]] = []
        ends = [0.0] * self.plan.ranks
        if self.dynamic:
            for rank in range(self.plan.ranks):
                self._ask(rank, 0.0)
        for rank in range(self.plan.ranks):
            self._leave_for_a_point(rank, 0.0, events, ends)
        while events:
            now, rank = heapq.heappop(events)
            now = self._put(rank, now)
            self._leave_for_a_point(rank, now, events, ends)
        makespan = max(*ends, self._rest_of_the_mail(ends[0])) if self.plan.ranks > 1 else ends[0]
        total = math.fsum(self.seconds)
        share = total / (self.plan.ranks * makespan) if makespan else 1.0
        return Result(makespan, share, {name: spent / makespan for name, spent in self.busy.items()})

    def _leave_for_a_point(
        self, rank: int, now: float, events: list[tuple[float, int]], ends: list[float]
    ) -> None:
        if rank == 0:
            now = self._poll(now, idle=False)
        number, now = self._take(rank, now)
        if number < len(self.seconds):
            heapq.heappush(events, (now + self.costs.engine + self.seconds[number], rank))
        else:
            ends[rank] = self._close(rank, now) if self.open[rank] else now

    def _take(self, rank: int, now: float) -> tuple[int, float]:
        """The rank's next point. A dynamic one was asked for when the rank left for the point before."""
        number = self.next[rank]
        if self.dynamic:
            now = max(now, self.granted[rank])
            self._ask(rank, now)
        else:
            self.next[rank] += self.plan.ranks
        return number, now

    def _ask(self, rank: int, now: float) -> None:
        self.next[rank] = self.numbers
        self.numbers += 1
        self.granted[rank] = self.counter_free = max(now, self.counter_free) + self.costs.ticket
        self.busy["counter"] += self.costs.ticket

    def _put(self, rank: int, now: float) -> float:
        if not self.open[rank]:
            self.opened[rank], self.early[rank] = now - self.early[rank], 0.0
        self.open[rank] += 1
        return self._close(rank, now) if now - self.opened[rank] >= self.plan.interval else now

    def _close(self, rank: int, now: float) -> float:
        """The batch is full: written here, or sent to rank 0."""
        count, self.open[rank] = self.open[rank], 0
        if self.gather and rank:
            heapq.heappush(self.mail, (now, count))
            return now
        if self.gather:
            self.arrived += count
            return self._commit_arrived(now)
        start = max(now + self.costs.point * count, self.file_system_free)
        self.file_system_free = start + self.costs.file_system
        self.busy["file system"] += self.costs.file_system
        end = start + self.costs.commit
        if rank:
            heapq.heappush(self.mail, (end, count))
        return end

    def _poll(self, now: float, *, idle: bool) -> float:
        """Rank 0 receives what has arrived; gathering, it writes that if it is due."""
        received = 0
        while self.mail and self.mail[0][0] <= now:
            self.arrived += heapq.heappop(self.mail)[1]
            received += 1
        now += received * self.costs.message
        self.busy["rank 0"] += received * self.costs.message
        due = self.gather and self.arrived and (idle or now - self.written >= self.plan.interval)
        return self._commit_arrived(now) if due else now

    def _commit_arrived(self, now: float) -> float:
        spent = self.costs.commit + self.costs.point * self.arrived
        self.busy["rank 0"] += spent
        self.arrived, self.written = 0, now + spent
        return now + spent

    def _rest_of_the_mail(self, now: float) -> float:
        """Rank 0 has no points left, and waits for the others'."""
        now = self._poll(now, idle=True)
        while self.mail:
            now = self._poll(max(now, self.mail[0][0]), idle=True)
        return now


def saturation(costs: Costs, mode: str, point_seconds: float, sync_seconds: float) -> dict[str, float]:
    """At how many ranks each shared resource has no time left, were all the others free; inf for never.

    Offered load: every rank sends a batch every interval (at least a point's time), draws a number every point.
    """
    interval = max(Plan(2, mode=mode, sync_seconds=sync_seconds).interval, point_seconds)
    if mode == "gather":
        left = max(0.0, 1 - costs.commit / interval)
        per_rank = costs.message / interval + costs.point / point_seconds
        found = {"rank 0": _over(left, per_rank), "file system": math.inf}
    else:
        found = {
            "rank 0": _over(interval, costs.message),
            "file system": _over(interval, costs.file_system),
        }
    return {**found, "counter": _over(point_seconds, costs.ticket)}


def _over(seconds: float, each: float) -> float:
    return seconds / each if each else math.inf
