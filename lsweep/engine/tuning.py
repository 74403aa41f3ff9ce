"""How many examples per forward pass, by measurement: on all ranks at once, as they will compute."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from lsweep.comm import Comm

CANDIDATES = {
    "cpu": (16, 25, 32, 50, 64, 100, 125, 200, 250),
    "cuda": (250, 500, 1000, 2000, 4000, 8000),
    "mps": (100, 250, 500, 1000),
}
# Points at once; a processor's caches are full long before a GPU is busy.
TOGETHER = {"cpu": (1, 4, 16, 64, 256), "cuda": (1, 4, 16, 64, 256), "mps": (1, 4, 16, 64, 256)}
# No more of them than have so many weights together: each point has a network of its own.
MOST_WEIGHTS = 1 << 24
# Nor than would take longer than so many seconds if nothing were gained by it.
LONGEST_TRIAL = 3.0
# Examples per trial, or one batch if that is more.
SAMPLE = {"cpu": 128, "cuda": 8000, "mps": 1000}
_REPEATS = 4


def fastest(
    comm: Comm, candidates: Sequence[int], work: Callable[[int], int], *, repeats: int = _REPEATS
) -> int:
    """Collective: the candidate with the most examples per second, over all ranks together.

    Ranks share memory and caches, so all measure the same candidate at the same time. Of candidates that are
    as good as the best to within a few per cent the smallest is taken: it needs the least memory.

    Args:
        comm: the ranks.
        candidates: increasing.
        work: evaluates with a candidate and returns how many examples that were; waits for the device.
        repeats: trials of each, of which the best counts: in the first one kernels are chosen and weights are packed.
    """
    rates = np.zeros((repeats, len(candidates)))
    for index, candidate in enumerate(candidates):
        for repeat in range(repeats):
            comm.barrier()
            start = time.perf_counter()
            examples = work(candidate)
            rates[repeat, index] = examples / (time.perf_counter() - start)
    together = np.sum(comm.allgather(rates.max(axis=0)), axis=0)
    good = together >= 0.97 * together.max()
    return comm.bcast(int(np.asarray(candidates)[good][0]))
