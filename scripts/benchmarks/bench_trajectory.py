"""Time and memory of a trajectory's PCA: many checkpoints of many parameters, made up on the fly, never stored.

The rows are combinations of a few random vectors plus a drift, so that their principal components are known from
small matrices; the result is compared with these. Prints one JSON object.

    python scripts/benchmarks/bench_trajectory.py --checkpoints 300 --parameters 25000000
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np

from lsweep.directions import pca
from lsweep.directions.checkpoint_matrix import BUDGET
from lsweep.tools import provenance

RANK = 6


class MadeUp:
    """Rows `mixture @ basis`, the basis drawn block by block, ending at 0 as θₙ − θₙ does."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        rng = np.random.default_rng(0)
        walk = np.cumsum(rng.standard_normal((count, RANK)) * 0.5 ** np.arange(RANK), axis=0)
        self.mixture = walk - walk[-1]
        self.width = BUDGET // (8 * count)

    def blocks(self) -> Iterator[np.ndarray]:
        """See `trajectory.Rows`. Drawn in float32, as weights are."""
        for number, start in enumerate(range(0, self.size, self.width)):
            yield self.mixture @ self.basis(number, min(self.width, self.size - start))

    def basis(self, number: int, width: int) -> np.ndarray:
        """Draw one block of the basis, (RANK, width) float64."""
        drawn = np.random.default_rng([1, number]).standard_normal((RANK, width), dtype=np.float32)
        return drawn.astype(np.float64)


def known_ratios(rows: MadeUp) -> np.ndarray:
    """The components' shares from RANK × RANK matrices: those of M R, where R Rᵀ is the basis's Gram matrix."""
    inner = np.zeros((RANK, RANK))
    for number, start in enumerate(range(0, rows.size, rows.width)):
        basis = rows.basis(number, min(rows.width, rows.size - start))
        inner += basis @ basis.T
    centred = rows.mixture - rows.mixture.mean(axis=0)
    singular = np.linalg.svd(centred @ np.linalg.cholesky(inner), compute_uv=False)
    return singular**2 / (singular**2).sum()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoints", type=int, default=300)
    parser.add_argument("--parameters", type=int, default=25_000_000)
    args = parser.parse_args()
    rows = MadeUp(args.checkpoints, args.parameters)
    times = {}
    start = time.perf_counter()
    products = pca.gram(rows)
    times["gram"] = time.perf_counter() - start
    found = pca.principal(products, 2)
    start = time.perf_counter()
    axes = pca.axes(rows, found.weights)
    times["axes"] = time.perf_counter() - start
    start = time.perf_counter()
    projected = pca.project(rows, axes)
    times["project"] = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    error = float(np.abs(found.ratios[:RANK] - known_ratios(rows)).max())
    about = provenance.collect()
    report = {
        "checkpoints": args.checkpoints,
        "parameters": args.parameters,
        "peak_memory_GB": round(peak, 3),
        "seconds": {name: round(value, 1) for name, value in times.items()},
        "explained_variance_ratio": found.ratios[:2].tolist(),
        "largest_error_of_ratios": error,
        "captured": projected.captured,
        **{
            key: about[key]
            for key in ("lsweep", "commit", "python", "packages", "processor", "cores", "command")
        },
    }
    print(json.dumps(report, indent=1))
    return 0 if peak < 2 and error < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
