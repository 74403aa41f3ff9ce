"""CPU threads per rank, from `OMP_NUM_THREADS` or the cores that the launcher assigned."""

from __future__ import annotations

import os

from lsweep.comm import Comm


def bound_to() -> frozenset[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def threads_per_rank(comm: Comm) -> int:
    """Collective: the number of threads for this rank.

    `OMP_NUM_THREADS` if it is set; otherwise the number of cores that the launcher bound this rank to, divided by the
    number of ranks on the host that are bound to the same cores.
    """
    own = bound_to()
    everyone = comm.allgather((comm.host, own))
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if given.isdigit() and int(given) > 0:
        return int(given)
    sharing = sum(1 for host, cores in everyone if host == comm.host and cores & own)
    return max(1, len(own) // sharing)


def overcrowded(comm: Comm) -> list[str]:
    """Collective: describe the hosts whose ranks have more threads than cores."""
    threads: dict[str, int] = {}
    cores: dict[str, frozenset[int]] = {}
    for host, count, bound in comm.allgather((comm.host, threads_per_rank(comm), bound_to())):
        threads[host] = threads.get(host, 0) + count
        cores[host] = cores.get(host, frozenset()) | bound
    return [
        f"{threads[host]} threads on {len(cores[host])} cores of {host}"
        for host in sorted(threads)
        if threads[host] > len(cores[host])
    ]
