"""Short of memory, work is done again with batches of half the size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
log = logging.getLogger("lsweep")


class Batched(Protocol):
    """Something that works on so many examples at a time."""

    batch_size: int


def within_memory(worker: Batched, device: torch.device, work: Callable[[], T]) -> T:
    """Do the work; where memory is short, with batches of half the size, from now on.

    Other kernels may be chosen for smaller batches: the point is outside the promise of equal bits.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or worker.batch_size == 1:
                raise
        # Outside of the handler: its traceback would keep the tensors of the failed pass alive.
        log.warning("out of memory with %d examples a batch: halved", worker.batch_size)
        worker.batch_size //= 2
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _out_of_memory(error: Exception) -> bool:
    """Whether memory was short, the device's or the host's; torch says the latter with a plain RuntimeError."""
    short = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
    return short or "DefaultCPUAllocator" in str(error)
