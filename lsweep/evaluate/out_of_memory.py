"""Out-of-memory handling: repeats the work with batches of half the size."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
log = logging.getLogger("lsweep")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


class Batched(Protocol):
    """An object that works in batches of a given number of examples."""

    batch_size: int


def within_memory(worker: Batched, device: torch.device, work: Callable[[], T]) -> T:
    """Do the work; if memory is exhausted, halve the batch size from now on.

    Smaller batches may select other kernels, so the bits of such a point are not reproducible.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or worker.batch_size == 1:
                raise
        # Outside the handler: its traceback would keep the tensors of the failed pass alive.
        log.warning("out of memory with batches of %d examples: the size is halved", worker.batch_size)
        worker.batch_size //= 2
        if device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def freed_memory() -> Iterator[None]:
    """Inside the block, make glibc return large freed blocks to the system at once.

    By default glibc keeps free memory between live blocks, by an amount that varies from run to run: during its
    start-up, a VGG needed 5 to 8 times the memory of its parameters. So during set-up, which makes and drops several
    copies of them, every large block is a separate mapping. Between points the same blocks are needed repeatedly, and
    mapping them each time would be slow; so afterwards the thresholds are those that glibc chooses itself after large
    blocks were freed.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_M_MMAP_THRESHOLD, 128 << 10)
    try:
        yield
    finally:
        library.malloc_trim(0)
        library.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def _out_of_memory(error: Exception) -> bool:
    """Whether device or host memory was exhausted; torch reports the latter as a plain RuntimeError."""
    short = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
    return short or "DefaultCPUAllocator" in str(error)
