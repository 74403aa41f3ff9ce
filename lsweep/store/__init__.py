"""Stores: memory, or one HDF5 file written by rank 0 (`gather`) or by all ranks (`mpio`).

This is the only package that imports h5py. `open_store` creates or resumes a store; `lsweep.store.reader` reads files.
"""

from __future__ import annotations

from lsweep.store.base import Batch, Store
from lsweep.store.opening import choose_mode, open_store, prepare_output
from lsweep.store.schema import Header, StoredDirections

__all__ = ["Batch", "Header", "Store", "StoredDirections", "choose_mode", "open_store", "prepare_output"]
