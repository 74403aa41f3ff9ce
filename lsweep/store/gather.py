"""Store `gather`: only rank 0 writes the file, which works without parallel HDF5 and on every file system."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from lsweep.comm import Comm
from lsweep.store.base import Batch, GatheringStore
from lsweep.store.schema import Header
from lsweep.store.writer import FileStore, PosixWriter, opening


class GatherStore(FileStore, GatheringStore):
    """All ranks send their batches to rank 0, which writes them between its own points."""

    mode = "gather"

    def __init__(
        self, comm: Comm, path: Path, header: Header, status: np.ndarray, sync_seconds: float = 5.0
    ) -> None:
        super().__init__(comm, header.names, status, sync_seconds)
        self._path = path
        with comm.together(), opening(path):
            if comm.is_root:
                # locking=False: a reader of the running sweep must not block its writer; lsweep has its own lock.
                with h5py.File(path, "r", locking=False) as file:
                    self._writer = PosixWriter(file, path, header.names)

    def _write(self, batch: Batch) -> None:
        if self._attempt(lambda: self._writer.write(batch)):
            self.on_durable(batch)

    def close(self) -> None:
        """See `Store.close`."""
        if self._comm.is_root:
            self._writer.close()
        self._comm.barrier()
