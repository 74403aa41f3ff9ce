"""Rounds of a session: all pending points at once, or those that adaptive refinement requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lsweep.comm import Comm
from lsweep.engine.exchange import Exchange
from lsweep.grid import Grid, refine
from lsweep.store.base import Batch, Store
from lsweep.surface import Status


@dataclass(frozen=True, eq=False)
class Round:
    """Points of one round.

    Attributes:
        points: flat indices, the same on every rank.
        again: they are done, and evaluated only for their per-example losses.
    """

    points: np.ndarray
    again: bool = False


class Rounds:
    """Rounds of points, each chosen when the previous one is durable. Each rank has one instance; rank 0 plans.

    Ranks send their durable losses to rank 0, because what they wrote to the file may not be visible there yet, for
    example over NFS.

    Args:
        grid: the grid, refined if `grid.refine` is set.
        comm: the ranks.
        store: the store, with its contents when it was opened.
        todo: (size,) boolean, the points to be evaluated or settled.
        everything: evaluate all of `todo`, also with `grid.refine`.
        exchange: exchanges per-example losses, with which points are predicted from coarser ones. A round then has
            points of one step only, and coarser points whose losses are missing are evaluated again.
    """

    def __init__(
        self,
        grid: Grid,
        comm: Comm,
        store: Store,
        todo: np.ndarray,
        *,
        everything: bool = False,
        exchange: Exchange | None = None,
    ) -> None:
        self._exchange = exchange
        self._grid, self._comm, self._store, self._todo = grid, comm, store, todo
        self._refines = grid.refine is not None and not everything
        self._judged = [k for k, name in enumerate(store.names) if refine.is_judged(name)]
        if self._refines and comm.is_root:
            self._evaluated = ~todo & np.isin(store.status, (Status.DONE, Status.FAILED))
            known = np.full((len(store.names), grid.size), np.nan) if store.values is None else store.values
            self._losses = np.where(self._evaluated, known[self._judged], np.nan)
        comm.on("evaluated", lambda source, news: self._learn(*news))

    def learn(self, batch: Batch) -> None:
        """Record that these points are durable on this rank."""
        if self._refines:
            self._comm.post(0, "evaluated", (batch.points, batch.values[:, self._judged]))

    def __iter__(self) -> Iterator[Round]:
        """Collective: the same rounds on every rank; request the next one only after `Comm.quiesce`."""
        if not self._todo.any():
            return
        if not self._refines:
            yield Round(np.flatnonzero(self._todo))
            return
        while len(points := self._comm.on_root(self._plan)):
            if self._exchange is not None:
                for step in range(int(self._exchange.steps[points[0]])):
                    if len(lacking := self._exchange.lacking(step)):
                        yield Round(lacking, again=True)
            yield Round(points)

    def settled(self) -> np.ndarray:
        """On rank 0, after the last round: flat indices of the points that need not be evaluated."""
        if not self._refines or not self._todo.any():
            return np.array([], dtype=np.int64)
        return np.flatnonzero(self._todo & ~self._evaluated)

    def _learn(self, points: np.ndarray, losses: np.ndarray) -> None:
        self._losses[:, points] = losses.T
        self._evaluated[points] = True

    def _plan(self) -> np.ndarray:
        planned = refine.plan(self._grid, self._losses, self._evaluated)
        points = np.flatnonzero(planned & ~self._evaluated)
        if self._exchange is None or not len(points):
            return points
        steps = self._exchange.steps[points]
        return points[steps == steps.min()]


def settled_batch(points: np.ndarray, metrics: int) -> Batch:
    """The batch that marks points as settled, without values."""
    return Batch(
        points=points,
        values=np.full((len(points), metrics), np.nan),
        status=np.full(len(points), Status.SETTLED, dtype=np.uint8),
        seconds=np.full(len(points), np.nan, dtype=np.float32),
        rank=np.full(len(points), -1, dtype=np.int32),
    )
