"""Points per second that the store makes durable, by mode, ranks and points in a batch: results/bench/store.json.

    python scripts/benchmarks/bench_store.py

Every rank writes as fast as it can the points that a sweep would give it; a batch is synced before the next begins.
So these are the costs of storing, not the share they have of a sweep: see bench_scheduler.py for that. `memory` is
`gather` without a file: what the messages cost.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench
import numpy as np

from lsweep.comm import Comm
from lsweep.grid import Axis, Grid, schedule
from lsweep.store import Batch, Header, open_store

MODES = ("memory", "gather", "mpio")
METRICS = ("loss", "accuracy")
COLUMNS = bench.Timed.columns


def main() -> None:
    parser = bench.parser(__doc__, "store.json")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 10, 100, 1000], help="points in a batch")
    parser.add_argument("--batches", type=int, default=200, help="batches of each size, over all ranks")
    args = parser.parse_args()
    if args.task:
        bench.work(args.task, worker)
        return
    with tempfile.TemporaryDirectory(prefix="bench_store-", dir=args.folder) as folder:
        cases = [{"mode": mode, "ranks": ranks} for ranks in args.ranks for mode in args.modes]
        rows = []
        for case in bench.in_turn(args.rounds, cases):
            task = {**case, "folder": folder, "batch": args.batch, "batches": args.batches}
            for row in bench.on_ranks(__file__, case["ranks"], task):
                rows.append({**case, **row})
                print(bench.rounded(rows[-1]), flush=True)
        result = {"rates": rates(rows), "fsync_seconds": fsync_seconds(Path(folder)), "rows": rows}
    bench.write(args.output, "points/s made durable; medians over rounds", result)


def rates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points per second by mode, ranks and batch."""
    keys = dict.fromkeys((row["mode"], row["ranks"], row["batch"]) for row in rows)
    return [
        {
            "mode": mode,
            "ranks": ranks,
            "batch": batch,
            "points_per_s": bench.summary(
                [r["points"] / r["wall"] for r in rows if (r["mode"], r["ranks"], r["batch"]) == key]
            ),
        }
        for key in keys
        for mode, ranks, batch in [key]
    ]


def fsync_seconds(folder: Path, times: int = 100) -> float:
    """What the file system takes to make eight bytes durable: each batch waits twice for that."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
        for number in range(times):
            os.pwrite(file.fileno(), bytes(8), 4096 * number)
            start = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def worker(comm: Comm, task: dict[str, Any]) -> list[dict[str, Any]]:
    return [measure(comm, task, size) for size in task["batch"]]


def measure(comm: Comm, task: dict[str, Any], size: int) -> dict[str, Any]:
    """Write the batches of one size into a new file; `wall` ends when the last one is durable."""
    each = max(1, task["batches"] // comm.size)
    side = 1 + int((each * size * comm.size) ** 0.5)
    grid = Grid(Axis(-1.0, 1.0, side), Axis(-1.0, 1.0, side))
    output = Path(task["folder"]) / f"{task['mode']}-{comm.size}-{size}.h5"
    path = None if task["mode"] == "memory" else output
    store = open_store(path, task["mode"], comm, Header(grid, METRICS, columns=COLUMNS), 1e9)
    commits: list[int] = []
    store.on_durable = lambda batch: commits.append(len(batch))
    batches = list(made(comm, grid, size, each))
    taken = []
    comm.barrier()
    begun = time.perf_counter()
    for batch in batches:
        start = time.perf_counter()
        store.put(batch)
        store.sync()
        taken.append(time.perf_counter() - start)
        comm.poll()
    comm.quiesce()
    wall = time.perf_counter() - begun
    store.close()
    everyone = comm.allgather((sum(commits), len(commits), statistics.median(taken)))
    comm.on_root_only(lambda: output.unlink(missing_ok=True))
    points = each * size * comm.size
    assert sum(durable for durable, _, _ in everyone) == points, "not all points became durable"
    return {
        "batch": size,
        "batches": each * comm.size,
        "points": points,
        "wall": wall,
        "commits": sum(commits for _, commits, _ in everyone),
        "seconds_per_batch_on_rank": statistics.median(seconds for _, _, seconds in everyone),
    }


def made(comm: Comm, grid: Grid, size: int, count: int) -> Iterator[Batch]:
    """This rank's batches, of points that lie as those of a sweep do: hardly two side by side."""
    order = schedule.tiles(grid, np.ones(grid.size, dtype=bool))
    mine = schedule.static_cyclic(order, comm.rank, comm.size)
    for number in range(count):
        tiles = mine[number * size : (number + 1) * size]
        points = np.sort(np.concatenate([tile.points for tile in tiles]))
        yield Batch(
            points=points,
            values=np.stack([points + 0.25, 0.5 * points], axis=1),
            status=np.ones(size, dtype=np.uint8),
            seconds=np.full(size, 0.1, dtype=np.float32),
            rank=np.full(size, comm.rank, dtype=np.int32),
            columns={"batch_size": np.full(size, 50, dtype=np.int32)},
        )


if __name__ == "__main__":
    main()
