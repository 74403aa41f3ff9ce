"""How long it takes until something happens: results/bench/startup.json.

    python scripts/benchmarks/bench_startup.py results/figures/li2018_resnet56/resnet56.toml

Fresh processes, in turn, files in the system's cache: an empty Python (nobody can be faster), `import lsweep`,
`lsweep --help`, torch; and a whole sweep on 1 and 2 ranks from the command to its first point, with the account that
`--profile` gives of it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench

from lsweep.store.reader import read

GOAL = 0.3  # seconds, of `lsweep --help`
LSWEEP = [sys.executable, "-m", "lsweep"]
SHORT = {
    "empty python": [sys.executable, "-c", "pass"],
    "import lsweep": [sys.executable, "-c", "import lsweep"],
    "lsweep --help": [*LSWEEP, "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
}


def main() -> None:
    parser = bench.parser(__doc__, "startup.json")
    parser.add_argument("config", nargs="?", default="results/figures/li2018_resnet56/resnet56.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2])
    parser.set_defaults(rounds=11)
    args = parser.parse_args()
    commands: dict[str, list[float]] = {name: [] for name in SHORT}
    sweeps = []
    with tempfile.TemporaryDirectory(prefix="bench_startup-", dir=args.folder) as folder:
        for number in range(args.rounds):
            for name, command in SHORT.items():
                start = time.perf_counter()
                bench.launch(command)
                commands[name].append(time.perf_counter() - start)
            for ranks in args.ranks:
                output = Path(folder) / f"{number}-{ranks}.h5"
                sweeps.append({"round": number, **first_point(args, ranks, output)})
                print(bench.rounded(sweeps[-1]), flush=True)
    medians = {name: bench.summary(seconds) for name, seconds in commands.items()}
    result = {
        "config": args.config,
        "overrides": args.overrides,
        "goal_help": GOAL,
        "goal_met": medians["lsweep --help"]["median"] < GOAL,
        "commands": medians,
        "sweep_to_first_point": [
            {
                "ranks": ranks,
                "seconds": bench.summary([s["seconds"] for s in sweeps if s["ranks"] == ranks]),
                "profile": profile([s["profile"] for s in sweeps if s["ranks"] == ranks]),
            }
            for ranks in args.ranks
        ],
        "rounds": sweeps,
    }
    bench.write(args.output, "seconds from the command on; medians over fresh processes", result)
    print(bench.rounded(medians))


def first_point(args: Any, ranks: int, output: Path) -> dict[str, Any]:
    """Sweep two points a rank; the file says when its session began, with the first point."""
    grid = {"x": {"num": 2}, "y": {"num": ranks}}
    sets = [*args.overrides, f"output={output}", *(f"grid.{a}.num={grid[a]['num']}" for a in grid)]
    if ranks == 1:
        sets += ["grid.y.min=0", "grid.y.max=0"]
    options = [word for setting in sets for word in ("--set", setting)]
    command = ["mpiexec", "-n", str(ranks), *LSWEEP, "sweep", args.config, "--quiet", "--profile", *options]
    begun = time.time()
    said = bench.launch(command, stderr=True)
    ended = time.time()
    session = read(output).sessions[0]
    return {
        "ranks": ranks,
        "seconds": float(session["start"]) - begun,
        "whole": ended - begun,
        "profile": slowest(said),
    }


def slowest(said: str) -> dict[str, float]:
    """Seconds of the slowest rank by span, from the table that `--profile` prints."""
    lines = said.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("where the time goes"))
    rows = [(line[:26].strip(), line[26:].split()) for line in lines[head + 1 :]]
    return {name: float(cells[2]) for name, cells in rows if len(cells) == 4}


def profile(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Medians by span."""
    return {
        name: bench.summary([seconds[name] for seconds in rounds if name in seconds])["median"]
        for name in rounds[0]
    }


if __name__ == "__main__":
    main()
