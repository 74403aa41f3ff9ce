"""What errors that are bounded save: subset, refinement and lower precision together, and whether the bounds hold.

    python scripts/bench_approximate.py measure resnet56 --ranks 2
    python scripts/bench_approximate.py check resnet56 --cache FOLDER

`measure` times a sweep of 51 × 51 points and 5000 images at a tolerance of 2 %, as one whole command, between two
rounds of a loop in the released code's manner at random points, from which that loop's time for all points follows.
`check` holds the file against strict fp32 of all images: at random evaluated points, at random interpolated ones, and
to both sides of places on its contour lines. What it evaluates is kept in --cache, and it goes on where it stopped.
Both write results/bench/approximate/NETWORK.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bench_evaluator
import bench_refine
import numpy as np
import torch
from reference import Reference

import lsweep
from lsweep import agreement, config, problem, provenance, weights
from lsweep.comm import SerialComm
from lsweep.render.levels import round_levels
from lsweep.surface import Status, Surface

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "bench" / "approximate"
SETTINGS = (
    "data.limit=5000",
    "grid.x.num=51",
    "grid.y.num=51",
    "grid.refine.tolerance=0.02",
    'evaluate.precision="auto"',
    "evaluate.tolerance=0.02",
    "evaluate.relative_error=0.02",
)
SEED = 2018
LEVELS = 11  # contour lines, as `lsweep render` draws them


def main() -> None:
    args = parse()
    plain = ROOT / "results" / "li2018_resnet56" / f"{args.network}.toml"
    output = RESULTS / f"{args.network}.h5"
    overrides = [*SETTINGS, f'output="{output.relative_to(ROOT)}"', *args.set]
    RESULTS.mkdir(parents=True, exist_ok=True)
    if args.step == "measure":
        found = measure(plain, overrides, output, args)
    else:
        found = check(config.load(plain, overrides), lsweep.open(output), args)
    path = RESULTS / f"{args.network}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    environment = provenance.collect()
    environment["command"] = [
        "FOLDER" if word == str(args.cache) else word for word in environment["command"]
    ]
    known |= {args.step: found | {"environment": environment}}
    path.write_text(json.dumps(known, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("measure", "check"))
    parser.add_argument("network", choices=("resnet56", "resnet56_noshort"))
    parser.add_argument("--set", action="append", default=[], help="as in lsweep sweep, after the others")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--manner-points", type=int, default=3, help="before the sweep, and after it")
    parser.add_argument("--cache", type=Path, help="folder for the truth, outside of the repository")
    parser.add_argument("--points", type=int, default=200, help="of each kind")
    parser.add_argument("--places", type=int, default=60, help="on contour lines")
    args = parser.parse_args()
    if args.step == "check" and args.cache is None:
        parser.error("check needs --cache FOLDER")
    return args


def measure(plain: Path, overrides: list[str], output: Path, args: argparse.Namespace) -> dict:
    """Seconds of the sweep and of the released code's manner."""
    output.unlink(missing_ok=True)
    read = config.load(plain, overrides)
    dice = np.random.default_rng(SEED)
    points = read.grid.coordinates(dice.choice(read.grid.size, 2 * args.manner_points, replace=False))
    manner = manner_a(read)
    manner(points[0], 256)  # warms up
    before = [manner(point, None) for point in points[::2]]
    seconds = timed_sweep(plain, overrides, args.ranks)
    after = [manner(point, None) for point in points[1::2]]
    surface = lsweep.open(output)
    each = float(np.median(before + after))
    return {
        "sweep seconds": round(seconds, 1),
        "manner a, seconds per point": [round(s, 2) for s in before + after],
        "manner a, seconds for all points": round(each * surface.done.size, 1),
        "ratio": round(each * surface.done.size / seconds, 2),
        "settings": overrides,
        **spent(surface),
    }


def timed_sweep(plain: Path, overrides: list[str], ranks: int) -> float:
    """Seconds of `lsweep sweep` as a whole command, under mpirun where there are several ranks."""
    command = [sys.executable, "-m", "lsweep", "sweep", str(plain.relative_to(ROOT))]
    for override in overrides:
        command += ["--set", override]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // ranks))}
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return time.perf_counter() - start


def manner_a(read: config.Config) -> Callable[[np.ndarray, int | None], float]:
    """Seconds of one point in the released code's manner, on the first `examples` (None: all)."""
    swept = problem.build(read, SerialComm())
    space = weights.weight_space(swept.model)
    directions = agreement.make(read, swept.model, SerialComm(), space)
    device = torch.device("cpu")

    def evaluate(point: np.ndarray, examples: int | None) -> float:
        run = bench_evaluator.released_manner(swept, space, directions, device, point, examples)
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return evaluate


def spent(surface: Surface) -> dict:
    """What the sweep did instead of everything."""
    examples = surface.columns["examples"][surface.done]
    kinds, counts = np.unique(surface.columns["precision"][surface.done], return_counts=True)
    names = {3: "tf32", 2: "fp32", 4: "bf16", 5: "fp16"}
    return {
        "points": surface.done.size,
        "points evaluated": int(surface.done.sum()),
        "points interpolated": surface.count(Status.SETTLED),
        "mean examples where evaluated": round(float(examples.mean()), 1),
        "points with all examples": int((examples == examples.max()).sum()),
        "precision": {names[int(k)]: int(c) for k, c in zip(kinds, counts, strict=True)},
    }


def check(read: config.Config, surface: Surface, args: argparse.Namespace) -> dict:
    """Errors at random points, and where the contour lines are."""
    truth = Reference(read, args.cache / args.network)
    order = np.random.default_rng(SEED).permutation(read.grid.size)
    filled = surface.filled("loss").reshape(-1)
    found = {}
    for kind, chosen in (("evaluated", surface.done), ("interpolated", surface.settled)):
        own = order[chosen.reshape(-1)[order]][: args.points]
        errors = []
        for flat, point in zip(own, read.grid.coordinates(own), strict=True):
            errors.append(abs(filled[flat] / truth.losses(point).mean() - 1))
            print(f"{kind} {len(errors)} of {len(own)}: {point} off by {errors[-1]:.4f}", flush=True)
        found[kind] = summary(np.array(errors)) | {"of": int(chosen.sum())}
    places = [
        between(read, surface, truth, place, level) for place, level in contour_places(surface, args.places)
    ]
    found["contour lines"] = {
        "places": len(places),
        "true line within a cell": round(float(np.mean(places)), 4) if places else None,
    }
    return found


def summary(errors: np.ndarray) -> dict:
    if not len(errors):
        return {"points": 0}
    median, most, largest = np.percentile(errors, [50, 95, 100])
    shown = {"median error": median, "95 % error": most, "largest error": largest}
    return {"points": len(errors)} | {name: round(float(value), 5) for name, value in shown.items()}


def contour_places(surface: Surface, count: int) -> Iterator[tuple[np.ndarray, float]]:
    """Random places on all contour lines together, by length, in cells from the corner; and their levels."""
    filled = surface.filled("loss")
    lo, hi = float(np.nanmin(filled)), float(np.nanmax(filled))
    levels = round_levels(lo, hi, LEVELS, log=True)
    lines = [(place, float(level)) for level in levels for place in bench_refine.lines(filled, level)]
    dice = np.random.default_rng(SEED)
    for index in dice.choice(len(lines), min(count, len(lines)), replace=False):
        yield lines[index]


def between(read: config.Config, surface: Surface, truth: Reference, place: np.ndarray, level: float) -> bool:
    """Whether the true loss passes the level between a cell down the slope and a cell up."""
    logs = np.log(surface.filled("loss"))
    row, column = (int(np.clip(round(place[k]), 1, logs.shape[1 - k] - 2)) for k in (1, 0))
    slope = np.array(
        [logs[row, column + 1] - logs[row, column - 1], logs[row + 1, column] - logs[row - 1, column]]
    )
    along = slope / np.hypot(*slope)
    cells = np.array([(axis.max - axis.min) / (axis.num - 1) for axis in read.grid.axes])
    corner = np.array([axis.min for axis in read.grid.axes])
    below, above = (float(truth.losses(corner + cells * (place + sign * along)).mean()) for sign in (-1, 1))
    print(f"contour {level:g} at {place}: {below:.4g} to {above:.4g}", flush=True)
    return below <= level <= above


if __name__ == "__main__":
    main()
