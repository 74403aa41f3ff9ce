"""From 1 to 10,000 ranks by a model that the measurements feed: results/bench/scale.json.

    python scripts/benchmarks/model_scale.py

Reads store.json, scheduler.json, scaling.json and startup.json of the same folder, derives what each step of a sweep
costs, and simulates (sweep_model.py) a 1001 x 1001 grid with static and dynamic schedules and both stores.
Every parameter is written down with where it comes from. `against_measured` holds the model to the sweeps that
bench_scheduler.py measured.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bench
import numpy as np
from sweep_model import Costs, Plan, saturation, simulate

RANKS = [1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 10_000]
SYNC_SECONDS = 5.0  # the default of store.sync_seconds
KEPT = 0.95  # the efficiency that counts as scaling
NOT_MODELLED = [
    "thousands of Python interpreters that import modules from one shared file system",
    "MPI_Init, and the collective calls at the start and the end",
    "the network: a message arrives as soon as it is sent, and a ticket takes what it takes within a host",
    "a parallel file system with many servers: here one, as slow as the disk of the measurement",
]


@dataclass(frozen=True)
class Parameter:
    """A number of the model, in seconds where no unit is said, and where it comes from."""

    name: str
    value: float
    source: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", type=Path, default=bench.RESULTS, help="folder of the benchmarks' JSON")
    parser.add_argument("--output", type=Path, default=bench.RESULTS / "scale.json")
    parser.add_argument("--ranks", nargs="+", type=int, default=RANKS)
    parser.add_argument("--side", type=int, default=1001, help="the grid is side x side points")
    parser.add_argument("--point-seconds", nargs="+", type=float, default=[0.1, 1.0])
    parser.add_argument("--ranks-per-host", type=int, default=4, help="an assumption: a GPU each")
    parser.add_argument(
        "--bandwidth", type=float, default=1.25e9, help="bytes/s between hosts: an assumption"
    )
    parser.add_argument("--megabytes", type=float, default=160.0, help="weights and data: an assumption")
    args = parser.parse_args()
    read = {
        name: bench.read(args.input / f"{name}.json") for name in ("store", "scheduler", "scaling", "startup")
    }
    costs, parameters = derive(read)
    shape = np.array([s for row in read["scaling"]["rows"] if row["ranks"] == 1 for s in row["seconds"]])
    shape /= shape.mean()
    assumed = [
        Parameter("ranks per host", args.ranks_per_host, "assumed"),
        Parameter("bytes/s between hosts", args.bandwidth, "assumed"),
        Parameter(
            "bytes of weights and data", args.megabytes * 1e6, "assumed: 50,000 CIFAR images and a network"
        ),
        Parameter("sync_seconds", SYNC_SECONDS, "lsweep's default"),
        Parameter(
            "spread of a point's seconds", float(shape.std()), "scaling.json: one rank; its shape is used"
        ),
    ]
    curves = list(simulated(args, costs, shape))
    result = {
        "parameters": [asdict(p) for p in [*parameters, *assumed]],
        "not_modelled": NOT_MODELLED,
        "saturation": [
            {"mode": mode, "point_seconds": p, **_finite(saturation(costs[mode], mode, p, SYNC_SECONDS))}
            for mode in costs
            for p in args.point_seconds
        ],
        "first_bottleneck": first_bottlenecks(curves),
        "start": [{"ranks": r, "seconds": start(args, read["startup"], r)} for r in args.ranks],
        "against_measured": against_measured(read["scheduler"], costs),
        "curves": [with_start(args, read["startup"], row) for row in curves],
    }
    bench.write(
        args.output, "a simulated sweep: efficiency and busy shares by ranks, schedule and store", result
    )
    for row in result["first_bottleneck"]:
        print(bench.rounded(row))


def derive(read: dict[str, Any]) -> tuple[dict[str, Costs], list[Parameter]]:
    """Costs of each mode from the measurements, and the list of them with their sources."""
    store, scheduler = read["store"]["rows"], read["scheduler"]
    message = median(r["wall"] / r["batches"] for r in store if r["mode"] == "memory" and r["ranks"] > 1)
    together = [row["seconds_together"] for row in scheduler["tickets"] if row["ranks"] > 1]
    ticket = median(together)
    parameters = [
        Parameter("message", message, "store.json: memory, more than one rank, wall / batches"),
        Parameter("ticket", ticket, "scheduler.json: all ranks draw at once, seconds / number"),
    ]
    costs = {}
    for mode in ("gather", "mpio"):
        commit, point = batch_costs([r for r in store if r["mode"] == mode and r["ranks"] == 1])
        null = [r for r in scheduler["rows"] if not r["seconds"] and r["ranks"] == 1 and r["mode"] == mode]
        engine = median((r["wall"] - r["on_rank_0"]["storing"]) / r["points_per_rank"] for r in null)
        shared = min(commit, fastest_commit(store)) if mode == "mpio" else 0.0
        costs[mode] = Costs(engine, commit, point, shared, message, ticket)
        parameters += [
            Parameter(f"engine, {mode}", engine, "scheduler.json: points of no time, one rank, less storing"),
            Parameter(
                f"commit, {mode}", commit, "store.json: one rank, least squares of wall on commits, points"
            ),
            Parameter(f"point, {mode}", point, "the same fit"),
        ]
    parameters.append(
        Parameter(
            "file system", costs["mpio"].file_system, "store.json: mpio, the most commits/s of any ranks"
        )
    )
    return costs, parameters


def batch_costs(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Seconds of a commit, and of each point in it: least squares of relative errors, neither below zero."""
    from scipy.optimize import nnls

    steps = np.array([[row["commits"], row["points"]] for row in rows], dtype=float)
    wall = np.array([row["wall"] for row in rows])
    commit, point = nnls(steps / wall[:, None], np.ones(len(wall)))[0]
    return float(commit), float(point)


def fastest_commit(store: list[dict[str, Any]]) -> float:
    """Seconds for each of the commits that all ranks together come to, at best, of the smallest batches."""
    rows = [row for row in store if row["mode"] == "mpio"]
    smallest = min(row["batch"] for row in rows)
    by_ranks: dict[int, list[float]] = {}
    for row in rows:
        if row["batch"] == smallest:
            by_ranks.setdefault(row["ranks"], []).append(row["wall"] / row["commits"])
    return min(statistics.median(values) for values in by_ranks.values())


def median(values: Iterator[float] | list[float]) -> float:
    return float(statistics.median(values))


def simulated(args: Any, costs: dict[str, Costs], shape: np.ndarray) -> Iterator[dict[str, Any]]:
    """Every combination: points as they were measured, scaled to their mean seconds."""
    for mean in args.point_seconds:
        seconds = mean * np.random.default_rng(0).choice(shape, args.side**2)
        for mode in costs:
            for kind in ("static", "dynamic"):
                for ranks in args.ranks:
                    found = simulate(Plan(ranks, kind, mode, SYNC_SECONDS), costs[mode], seconds)
                    row = {"point_seconds": mean, "mode": mode, "kind": kind, "ranks": ranks, **asdict(found)}
                    row["ideal"] = float(seconds.sum() / ranks)
                    # What no program avoids: the ranks that have one point less wait for the others.
                    row["even_points"] = args.side**2 / (ranks * math.ceil(args.side**2 / ranks))
                    print(bench.rounded(row), flush=True)
                    yield row


def first_bottlenecks(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By case: the fewest ranks at which `KEPT` is not reached, and which shared resource is busiest there."""
    found = []
    for key in dict.fromkeys((row["point_seconds"], row["mode"], row["kind"]) for row in curves):
        mine = [row for row in curves if (row["point_seconds"], row["mode"], row["kind"]) == key]
        below = next((row for row in mine if row["efficiency"] < KEPT), None)
        busy = (below or mine[-1])["busy"]
        line = dict(zip(("point_seconds", "mode", "kind"), key, strict=True))
        line |= {
            "below": KEPT,
            "from_ranks": below and below["ranks"],
            "busiest": max(busy, key=busy.__getitem__),
        }
        line["busy"] = max(busy.values())
        found.append(line)
    return found


def start(args: Any, startup: dict[str, Any], ranks: int) -> float:
    """Seconds to the first point: as on one rank, and a broadcast down a binary tree of hosts."""
    one = next(row for row in startup["sweep_to_first_point"] if row["ranks"] == 1)
    hosts = math.ceil(ranks / args.ranks_per_host)
    each = args.megabytes * 1e6 / args.bandwidth
    return float(one["seconds"]["median"] + each * math.ceil(math.log2(hosts)))


def with_start(args: Any, startup: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    whole = row["makespan"] + start(args, startup, row["ranks"])
    return {**row, "efficiency_with_start": row["ideal"] / whole}


def against_measured(scheduler: dict[str, Any], costs: dict[str, Costs]) -> list[dict[str, Any]]:
    """Overhead of the measured sweeps, and of the same in the model, points as long as they really were."""
    found = []
    timed = [row for row in scheduler["rows"] if row["seconds"]]
    for key in dict.fromkeys((row["ranks"], row["kind"], row["mode"]) for row in timed):
        mine = [row for row in timed if (row["ranks"], row["kind"], row["mode"]) == key]
        ranks, kind, mode = key
        really = [(1 - r["overhead_beyond_points"]) * r["wall"] / r["points_per_rank"] for r in mine]
        seconds = np.full(ranks * mine[0]["points_per_rank"], median(really))
        modelled = simulate(Plan(ranks, kind, mode, SYNC_SECONDS), costs[mode], seconds)
        found.append(
            {
                **dict(zip(("ranks", "kind", "mode"), key, strict=True)),
                "measured": median([row["overhead_beyond_points"] for row in mine]),
                "modelled": 1 - modelled.efficiency,
            }
        )
    return found


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no infinity: a resource that never saturates has none."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


if __name__ == "__main__":
    main()
