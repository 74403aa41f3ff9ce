"""What ranks measured of single examples, made known to all of them between two rounds."""

from __future__ import annotations

import logging

import numpy as np

from lsweep.comm import Comm
from lsweep.engine.example_cache import ExampleCache
from lsweep.evaluate.sampling.example_losses import Neighbours
from lsweep.surface import Status

log = logging.getLogger("lsweep")


class Exchange:
    """Keeps every rank's `Neighbours` the same. Every rank holds one.

    Args:
        comm: the ranks.
        neighbours: this rank's, which its evaluator asks and tells.
        cache: what is kept for a resume, looked at on rank 0 alone; None keeps nothing.
    """

    def __init__(self, comm: Comm, neighbours: Neighbours, cache: ExampleCache | None = None) -> None:
        self._comm, self._neighbours, self._cache = comm, neighbours, cache
        self._lacking = np.zeros(len(neighbours.steps), dtype=bool)

    @property
    def steps(self) -> np.ndarray:
        """(size,) when a point's turn comes; see `Neighbours`."""
        return self._neighbours.steps

    def open(self, status: np.ndarray) -> None:
        """Collective: learn what was kept of points that are done.

        Args:
            status: (size,) of all points, when the session begins.
        """
        done = status == Status.DONE
        self._lacking = done & self._neighbours.useful
        records = self._cache.read() if self._cache is not None and self._comm.is_root else iter(())
        while (record := self._comm.on_root(lambda: next(records, None))) is not None:
            for point, measured in sorted(record.items()):
                if self._lacking[point]:
                    self._neighbours.learn(point, measured)
                    self._lacking[point] = False

    def lacking(self, step: int) -> np.ndarray:
        """Flat indices of the points of that step that are done, but of whose examples nobody knows; each once."""
        points = np.flatnonzero(self._lacking & (self.steps == step))
        self._lacking[points] = False
        if len(points) and self._comm.is_root:
            log.info("%d points are evaluated again: what their examples lost was not kept", len(points))
        return points

    def share(self) -> None:
        """Collective: all learn what any measured since this was last called."""
        measured = {}
        for noted in self._comm.allgather(self._neighbours.take()):
            measured.update(noted)
        for point in sorted(measured):
            self._neighbours.learn(point, measured[point])
        if self._cache is not None and self._comm.is_root:
            self._cache.append(measured)
