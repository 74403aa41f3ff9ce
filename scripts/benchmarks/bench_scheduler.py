"""What scheduling and storing cost a sweep whose points cost a known time: results/bench/scheduler.json.

    python scripts/benchmarks/bench_scheduler.py

Whole sweeps by `engine.run`, with the lock, the file and messages as ever; only the points do nothing but take time.
Ranks that have a core each compute meanwhile, over more memory than caches hold; where there are more ranks than cores
they take naps, which need no processor but end late. `scheduling_and_storing` is the share of a sweep's wall time,
from its first point until all is durable, that `lsweep sweep --profile` shows for scheduling, messages, storing and
waiting for other ranks, on rank 0 or on the others, whichever is more. `overhead` is all that the points' nominal time
does not explain: that a point ends late, and what else the engine does for it, count too. `overhead_beyond_points`
takes the points' time as it was. `probing` comes before: how long a dynamic schedule takes to see whether its counter
is of use. `processor` is the processor's time per point of naps, which have none: it hardly depends on what else the
machine does. With points of no time the engine's own speed shows.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import bench
import numpy as np

from lsweep.comm import Comm
from lsweep.engine import loop
from lsweep.engine.plan import Options, Plan
from lsweep.grid import Axis, Grid
from lsweep.store import Header, open_store
from lsweep.tools.lock import acquire
from lsweep.tools.stopwatch import Stopwatch

SLEEP = 0.1
GOAL = 0.005
SPANS = ("scheduling", "messages", "storing", "waiting for other ranks")


def main() -> None:
    parser = bench.parser(__doc__, "scheduler.json")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--modes", nargs="+", default=["gather", "mpio"], choices=["gather", "mpio"])
    parser.add_argument("--kinds", nargs="+", default=["static", "dynamic"], choices=["static", "dynamic"])
    parser.add_argument("--points", type=int, default=150, help=f"points of {SLEEP} s for each rank")
    parser.add_argument("--null", type=int, default=2000, help="points of no time for each rank")
    parser.add_argument("--tickets", type=int, default=1000, help="drawn by each rank to time the counter")
    args = parser.parse_args()
    if args.task:
        bench.work(args.task, worker)
        return
    print(f"about {args.rounds * estimate(args) / 60:.0f} minutes")
    sweeps = [
        {
            "ranks": ranks,
            "kind": kind,
            "mode": mode,
            "seconds": seconds,
            "points_per_rank": points,
            "naps": ranks > bench.CORES,
        }
        for ranks in args.ranks
        for kind in args.kinds
        for mode in args.modes
        for seconds, points in ((SLEEP, args.points), (0.0, args.null))
    ]
    rows, tickets = [], []
    with tempfile.TemporaryDirectory(prefix="bench_scheduler-", dir=args.folder) as folder:
        for case in bench.in_turn(args.rounds, sweeps):
            rows.append({**case, **bench.on_ranks(__file__, case["ranks"], {**case, "folder": folder})})
            print(bench.rounded(rows[-1]), flush=True)
        for case in bench.in_turn(args.rounds, [{"ranks": ranks} for ranks in args.ranks]):
            found = bench.on_ranks(__file__, case["ranks"], {"tickets": args.tickets})
            tickets.append({**case, **found})
    result = {"goal": GOAL, "table": table(rows), "tickets": tickets, "rows": rows}
    bench.write(args.output, "overhead of scheduling and storing; medians over rounds", result)


def estimate(args: Any) -> float:
    """Seconds of one round: points, and about three for each start."""
    each = args.points * SLEEP + 6 + 0.1 * max(args.ranks)
    return float(len(args.ranks) * len(args.modes) * len(args.kinds) * each)


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By ranks, schedule and store: the overhead of points of known time, and microseconds per point of no time."""
    found = []
    for key in dict.fromkeys((row["ranks"], row["kind"], row["mode"]) for row in rows):
        mine = [row for row in rows if (row["ranks"], row["kind"], row["mode"]) == key]
        timed = [row for row in mine if row["seconds"]]
        null = [row for row in mine if not row["seconds"]]
        line: dict[str, Any] = dict(zip(("ranks", "kind", "mode"), key, strict=True))
        if timed:
            shares = [row["scheduling_and_storing"] for row in timed]
            line["scheduling_and_storing"] = bench.summary(shares)
            line["overhead"] = bench.summary([row["overhead"] for row in timed])
            line["overhead_beyond_points"] = bench.summary([row["overhead_beyond_points"] for row in timed])
            line["points"] = "naps" if timed[0]["naps"] else "busy"
            if timed[0]["naps"]:
                line["processor"] = bench.summary([row["processor"] for row in timed])
            line["goal_met"] = line["overhead"]["median"] < GOAL
        if null:
            line["microseconds_per_point"] = bench.summary(
                [1e6 * row["wall"] / row["points_per_rank"] for row in null]
            )
        found.append(line)
    return found


def worker(comm: Comm, task: dict[str, Any]) -> dict[str, Any]:
    return draw(comm, task["tickets"]) if "tickets" in task else sweep(comm, task)


def sweep(comm: Comm, task: dict[str, Any]) -> dict[str, Any]:
    """One sweep, and where its time went."""
    output = Path(task["folder"]) / "sweep.h5"
    grid = Grid(Axis(-1.0, 1.0, task["points_per_rank"]), Axis(-1.0, 1.0, comm.size))
    plan = Plan(str(output), grid, dynamic=task["kind"] == "dynamic")
    lock = comm.on_root(lambda: acquire(output))
    header = Header(grid, bench.Timed.names, columns=bench.Timed.columns)
    store = open_store(output, task["mode"], comm, header, task.get("sync_seconds", 5.0))
    store.guard = lock.check
    evaluator, clock = bench.Timed(task["seconds"], naps=task["naps"]), Stopwatch()
    comm.barrier()
    begun, processor = time.time(), time.process_time()
    outcome = loop.run(plan, Options(clock=clock), comm, store, evaluator)
    ended, processor = time.time(), time.process_time() - processor
    store.close()
    assert outcome.done == grid.size, outcome
    comm.on_root_only(lambda: (lock.release(), output.unlink()))
    everyone = comm.allgather((evaluator.started, ended, evaluator.spent, processor, clock.account()))
    began, ends, spent, used, spans = zip(*everyone, strict=True)
    starts = [start for start in began if start is not None]
    wall, points, probing = max(ends) - min(starts), task["points_per_rank"], min(starts) - begun
    on_rank_0 = {name: spans[0].get(name, 0.0) for name in SPANS}
    on_others = {
        name: float(np.mean([account.get(name, 0.0) for account in spans[1:] or spans])) for name in SPANS
    }
    probed = probing if task["kind"] == "dynamic" else 0.0
    return {
        "wall": wall,
        "scheduling_and_storing": (max(sum(on_rank_0.values()), sum(on_others.values())) - probed) / wall,
        "overhead": 1 - points * task["seconds"] / wall,
        # Of all ranks' time, because a dynamic schedule gives them unlike numbers of points.
        "overhead_beyond_points": 1 - sum(spent) / (comm.size * wall),
        "processor": sum(used) / grid.size if task["naps"] else None,
        "probing": probing,
        "on_rank_0": on_rank_0,
        "on_others": on_others,
    }


def draw(comm: Comm, count: int) -> dict[str, Any]:
    """The shared counter: numbers per second when all ranks draw at once, and how long the last rank waits alone."""
    counter = comm.counter()
    comm.barrier()
    begun = time.perf_counter()
    for _ in range(count):
        counter.take()
    comm.barrier()
    together = (time.perf_counter() - begun) / (count * comm.size)
    alone = 0.0
    if comm.rank == comm.size - 1:
        begun = time.perf_counter()
        for _ in range(count):
            counter.take()
        alone = (time.perf_counter() - begun) / count
    else:
        time.sleep(0.5)  # as a rank at its points: no call of MPI
    alone = comm.allgather(alone)[-1]
    counter.close()
    return {"seconds_together": together, "seconds_alone": alone}


if __name__ == "__main__":
    main()
