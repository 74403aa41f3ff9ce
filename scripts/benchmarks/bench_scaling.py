"""Strong scaling of a real sweep, one thread a rank, each rank on a core of its own: results/bench/scaling.json.

    python scripts/benchmarks/bench_scaling.py results/figures/li2018_resnet56/resnet56.toml --set data.limit=500

The same sweep on 1 and 2 ranks (`--ranks`), in turn, pinned by `mpiexec --bind-to core`. What counts is the sweep's own
phase, from its first point until all is durable, as the file's table of sessions has it. `limit` is what the machine
allows: as many sweeps of one rank, which know nothing of each other, side by side. Where they are slower than one
alone (shared memory bandwidth, two threads of one core, other guests), no program scales better.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bench
import numpy as np

from lsweep.store.reader import read

GOAL = 0.95
LSWEEP = [sys.executable, "-m", "lsweep", "sweep"]


def main() -> None:
    parser = bench.parser(__doc__, "scaling.json")
    parser.add_argument("config", nargs="?", default="results/figures/li2018_resnet56/resnet56.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--grid", nargs=2, type=int, default=[8, 8], metavar=("NX", "NY"))
    parser.set_defaults(rounds=5)
    args = parser.parse_args()
    if max(args.ranks) > bench.CORES:
        raise SystemExit(
            f"{max(args.ranks)} ranks cannot have a core each: this process may use {bench.CORES}"
        )
    cases = [{"ranks": ranks, "limit": limit} for ranks in args.ranks for limit in (False, True)]
    cases = [case for case in cases if case["ranks"] > 1 or not case["limit"]]
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench_scaling-", dir=args.folder) as folder:
        for number, case in enumerate(bench.in_turn(args.rounds, cases)):
            rows.append({**case, **side_by_side(args, case, Path(folder) / str(number))})
            print(bench.rounded(rows[-1]), flush=True)
    result = {
        "config": args.config,
        "overrides": args.overrides,
        "grid": args.grid,
        "goal": GOAL,
        "efficiency": [efficiency(rows, ranks) for ranks in args.ranks if ranks > 1],
        "rows": rows,
        "topology": topology(),
    }
    bench.write(
        args.output, "strong scaling, the sweep's phase; medians over rounds of ratios in a round", result
    )
    print(json.dumps(bench.rounded(result["efficiency"]), indent=1))


def side_by_side(args: Any, case: dict[str, Any], place: Path) -> dict[str, Any]:
    """One sweep on so many ranks; or so many sweeps of one rank at a time, each with all the points."""
    if not case["limit"]:
        command = ["mpiexec", "--bind-to", "core", "-n", str(case["ranks"])]
        return sweep(args, command, place.with_suffix(".h5"))
    cores = sorted(os.sched_getaffinity(0))[: case["ranks"]]
    with ThreadPoolExecutor(len(cores)) as pool:
        done = list(
            pool.map(
                lambda core: sweep(args, ["taskset", "-c", str(core)], Path(f"{place}-{core}.h5")), cores
            )
        )
    numbers = [key for key in done[0] if key != "seconds"]
    return {key: statistics.mean(one[key] for one in done) for key in numbers}


def sweep(args: Any, launcher: Sequence[str], output: Path) -> dict[str, Any]:
    """Its wall time, and the seconds that its points took themselves, in no order."""
    sets = [*args.overrides, f"output={output}", f"grid.x.num={args.grid[0]}", f"grid.y.num={args.grid[1]}"]
    options = [word for setting in sets for word in ("--set", setting)]
    bench.launch([*launcher, *LSWEEP, args.config, "--quiet", *options], timeout=3600, OMP_NUM_THREADS="1")
    surface = read(output)
    session = surface.sessions[0]
    return {
        "wall": float(session["stop"] - session["start"]),
        "points": surface.status.size,
        "seconds_per_point": float(np.mean(surface.seconds)),
        "seconds": np.sort(surface.seconds, axis=None).astype(float).tolist(),
    }


def efficiency(rows: list[dict[str, Any]], ranks: int) -> dict[str, Any]:
    """Round by round: time alone over `ranks` times the time together; and what the machine itself allows."""

    def of(count: int, limit: bool, key: str) -> dict[int, float]:
        return {r["round"]: r[key] for r in rows if (r["ranks"], r["limit"]) == (count, limit)}

    alone, together = of(1, False, "wall"), of(ranks, False, "wall")
    point, slower = of(1, False, "seconds_per_point"), of(ranks, True, "seconds_per_point")
    values = bench.summary([alone[n] / (ranks * together[n]) for n in alone])
    limits = bench.summary([point[n] / slower[n] for n in point])
    return {"ranks": ranks, "efficiency": values, "limit": limits, "goal_met": values["median"] >= GOAL}


def topology() -> list[str]:
    """How the cores are related: two threads of one core are not two cores."""
    try:
        done = subprocess.run(
            ["lscpu", "-e=CPU,CORE,SOCKET,NODE"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()


if __name__ == "__main__":
    main()
