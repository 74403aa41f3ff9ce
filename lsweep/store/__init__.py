"""Stores: memory, or one HDF5 file written by rank 0 (`gather`) or by all ranks (`mpio`).

The only package that imports h5py. `open_store` creates or resumes; `lsweep.store.reader` reads.
"""

from __future__ import annotations

from lsweep.store.base import Batch, Store
from lsweep.store.opening import choose_mode, open_store, prepare_output
from lsweep.store.schema import Header, StoredDirections

__all__ = ["Batch", "Header", "Store", "StoredDirections", "choose_mode", "open_store", "prepare_output"]
