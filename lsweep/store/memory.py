"""Store in memory: the reference for the behaviour of the other stores."""

from __future__ import annotations

import json

import numpy as np

from lsweep.comm import Comm
from lsweep.store.base import Batch, GatheringStore
from lsweep.store.schema import Header, datasets
from lsweep.surface import Status, Surface, curvature_metrics


class MemoryStore(GatheringStore):
    """Keeps results in memory, so they are lost when the process ends."""

    mode = "memory"

    def __init__(self, comm: Comm, header: Header, sync_seconds: float = 5.0) -> None:
        size = header.grid.size
        super().__init__(comm, header.names, np.zeros(size, dtype=np.uint8), sync_seconds)
        self._header = header
        declared = datasets(header.names, header.columns)
        self._arrays = {n: np.full(size, fill, dtype=dtype) for n, (dtype, fill) in declared.items()}

    def _write(self, batch: Batch) -> None:
        for index, name in enumerate(self.names):
            self._arrays[name][batch.points] = batch.values[:, index]
        for name, values in batch.columns.items():
            self._arrays[name][batch.points] = values
        for name in ("seconds", "rank", "status"):
            self._arrays[name][batch.points] = getattr(batch, name)
        self.on_durable(batch)

    def close(self) -> None:
        """See `Store.close`."""

    def surface(self) -> Surface | None:
        """See `Store.surface`."""
        if not self._comm.is_root:
            return None
        grid = self._header.grid
        shaped = {name: array.reshape(grid.shape) for name, array in self._arrays.items()}
        status, seconds, rank = (shaped.pop(name) for name in ("status", "seconds", "rank"))
        done = status == Status.DONE
        seconds, rank = np.where(done, seconds, np.float32(np.nan)), np.where(done, rank, np.int32(-1))
        columns = {name: shaped.pop(name) for name in self._header.columns}
        axes = {name: axis.values.copy() for name, axis in zip(grid.names, grid.axes, strict=True)}
        shaped |= curvature_metrics(columns, done)
        header = self._header
        provenance, identity, recipe = (
            json.loads(json.dumps(value))
            for value in (header.provenance, header.identity, header.directions.recipe)
        )
        return Surface(
            axes=axes,
            metrics=shaped,
            status=status,
            seconds=seconds,
            rank=rank,
            config=header.config,
            provenance=provenance,
            columns=columns,
            trajectory=header.trajectory,
            identity=identity,
            recipe=recipe,
        )
