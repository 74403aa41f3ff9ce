"""Store `mpio`: every rank writes the file through MPI-IO, independently of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep.comm import Comm
from lsweep.store.base import Batch
from lsweep.store.schema import Header
from lsweep.store.writer import FileStore, SharedWriter, opening


class MpioStore(FileStore):
    """Each rank writes its own batches at offsets that no other rank writes."""

    mode = "mpio"

    def __init__(
        self, comm: Comm, path: Path, header: Header, status: np.ndarray, sync_seconds: float = 5.0
    ) -> None:
        super().__init__(comm, header.names, status, sync_seconds)
        self._path = path
        options: dict[str, Any] = {"driver": "mpio", "comm": comm.mpi, "info": comm.file_hints()}
        with comm.together(), opening(path):
            self._file = h5py.File(path, "r+", locking=False, **options)
            self._writer = SharedWriter(self._file, path, header.names)

    def _commit(self, batch: Batch) -> None:
        if self._attempt(lambda: self._writer.write(batch)):
            self.on_durable(batch)

    def close(self) -> None:
        """See `Store.close`. Closing is collective in HDF5."""
        self._writer.close()
        self._let_go(self._file.close)
        self._comm.barrier()
