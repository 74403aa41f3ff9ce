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
    """Work in batches of a given number of examples."""

    batch_size: int


def within_memory(worker: Batched, device: torch.device, work: Callable[[], T]) -> T:
    """Do the work; if memory is exhausted, halve the batch size from now on.

    Other kernels may be chosen for smaller batches: the point is outside the promise of equal bits.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or worker.batch_size == 1:
                raise
        # Outside the handler: its traceback would keep the tensors of the failed pass alive.
        log.warning("out of memory with %d examples a batch: halved", worker.batch_size)
        worker.batch_size //= 2
        if device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def freed_memory() -> Iterator[None]:
    """Return large freed blocks to the system at once inside the block, with glibc.

    It keeps what was freed between live blocks, and how much that is differs from run to run: start-ups of a VGG came
    to 5 to 8 times its parameters. So while one stage after another makes and drops copies of them, every large block
    is a mapping of its own. Between points the same blocks are wanted again and again, and mapping them anew would be
    slow: afterwards the thresholds are those that glibc itself comes to once large blocks were freed.
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
