"""Store `gather`: rank 0 alone writes the file; needs no parallel HDF5 and works on every file system."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from lsweep.comm import Comm
from lsweep.store.base import Batch, GatheringStore
from lsweep.store.schema import Header
from lsweep.store.writer import FileStore, PosixWriter, opening


class GatherStore(FileStore, GatheringStore):
    """Batches travel to rank 0, which writes them between its own points."""

    mode = "gather"

    def __init__(
        self, comm: Comm, path: Path, header: Header, status: np.ndarray, sync_seconds: float = 5.0
    ) -> None:
        super().__init__(comm, header.names, status, sync_seconds)
        self._path = path
        with comm.together(), opening(path):
            if comm.is_root:
                # locking=False: who reads the running sweep must not stop its writer; lsweep has its own lock.
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
