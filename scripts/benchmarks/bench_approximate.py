"""What errors that are bounded save: subset, refinement and lower precision together, and whether the bounds hold.

    python scripts/benchmarks/bench_approximate.py measure resnet56 --ranks 2
    python scripts/benchmarks/bench_approximate.py full resnet56 --ranks 2
    python scripts/benchmarks/bench_approximate.py check resnet56

`measure` times a sweep of 51 × 51 points and 5000 images at a tolerance of 2 %, as one whole command, between two
rounds of a loop in the released code's manner at random points, from which that loop's time for all points follows.
`full` evaluates all images at all points, in strict fp32 unless --set says otherwise: hours on a few cores, minutes on
a GPU; it goes on where it stopped. `check` holds the one file against the other: at every point, evaluated and
interpolated ones apart, and along the contour lines. Each writes its part of FOLDER/NETWORK.json, by default under
results/bench/approximate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import bench_evaluator
import bench_refine
import numpy as np
from reference import Reference

import lsweep
from lsweep import config
from lsweep.comm import SerialComm
from lsweep.directions import agreement
from lsweep.evaluate import problem
from lsweep.evaluate.device import choose_device
from lsweep.models import parameters
from lsweep.render.levels import round_levels
from lsweep.surface import Status, Surface
from lsweep.tools import provenance

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "bench" / "approximate"
GRID = ("data.limit=5000", "grid.x.num=51", "grid.y.num=51")
SETTINGS = (
    *GRID,
    "grid.refine.tolerance=0.02",
    'evaluate.precision="auto"',
    "evaluate.tolerance=0.02",
    "evaluate.relative_error=0.02",
)
SEED = 2018
LEVELS = 11  # of contour lines, as `lsweep render` draws them


def main() -> None:
    args = parse()
    args.folder.mkdir(parents=True, exist_ok=True)
    output, full = (args.folder / f"{args.network}{kind}.h5" for kind in ("", "_full"))
    plain = ROOT / "results" / "figures" / "li2018_resnet56" / f"{args.network}.toml"
    if args.step == "measure":
        found = measure(plain, settings(SETTINGS, output, args), output, args)
    elif args.step == "full":
        overrides = settings(GRID, full, args)
        found = {"seconds": round(timed_sweep(plain, overrides, args.ranks), 1), "settings": overrides}
    else:
        found = check(lsweep.open(output), truth(full, plain, args))
    path = args.folder / f"{args.network}.json"
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
    parser.add_argument("step", choices=("measure", "full", "check"))
    parser.add_argument("network", choices=("resnet56", "resnet56_noshort"))
    parser.add_argument("--set", action="append", default=[], help="as in lsweep sweep, after the others")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--manner-points", type=int, default=3, help="before the sweep, and after it")
    parser.add_argument("--cache", type=Path, help="check: points that `full` lacks, evaluated and kept here")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="of the files")
    return parser.parse_args()


def settings(common: Sequence[str], output: Path, args: argparse.Namespace) -> list[str]:
    """Overrides of the configuration; paths that are the same on any machine."""
    output = output.resolve()
    shown = output.relative_to(ROOT) if output.is_relative_to(ROOT) else output
    return [*common, f'output="{shown}"', *args.set]


def measure(plain: Path, overrides: list[str], output: Path, args: argparse.Namespace) -> dict:
    """Seconds of the sweep and of the released code's manner."""
    output.unlink(missing_ok=True)
    read = config.load(plain, overrides)
    rng = np.random.default_rng(SEED)
    points = read.grid.coordinates(rng.choice(read.grid.size, 2 * args.manner_points, replace=False))
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
    space = parameters.weight_space(swept.model)
    directions = agreement.make(read.directions, read.grid.names, swept.model, SerialComm(), space)
    device = choose_device(read.evaluate.device, SerialComm())

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


def truth(path: Path, plain: Path, args: argparse.Namespace) -> np.ndarray:
    """(y, x): the loss of all images at all points.

    Raises:
        SystemExit: some are not there, and no folder to keep them in was given.
    """
    full = lsweep.open(path)
    losses, lacking = full.loss.copy(), np.argwhere(~full.done)
    if len(lacking) and args.cache is None:
        raise SystemExit(f"{path} lacks {len(lacking)} points: run `full` to its end, or give --cache FOLDER")
    if len(lacking):
        reference = Reference(config.load(plain, settings(GRID, path, args)), args.cache / args.network)
        for row, column in lacking:
            losses[row, column] = reference.losses(np.array([full.x[column], full.y[row]])).mean()
    return losses


def check(surface: Surface, full: np.ndarray) -> dict:
    """Errors of the loss at all points, and how far the contour lines of the plot are from the true ones."""
    filled = surface.filled("loss")
    errors = np.abs(filled / full - 1)
    levels = round_levels(float(np.nanmin(filled)), float(np.nanmax(filled)), LEVELS, log=True)
    moved = bench_refine.displacement(full, filled, [float(level) for level in levels])
    return {
        "evaluated": summary(errors[surface.done]),
        "interpolated": summary(errors[surface.settled]),
        "contour lines": {
            "levels": len(levels),
            "cells of length, both ways": round(len(moved) * bench_refine.STEP),
            "displaced by at most a cell": round(float((moved <= 1).mean()), 4),
            "95 % displacement in cells": round(float(np.percentile(moved, 95)), 3),
        },
    }


def summary(errors: np.ndarray) -> dict:
    if not len(errors):
        return {"points": 0}
    median, most, largest = np.percentile(errors, [50, 95, 100])
    shown = {"median error": median, "95 % error": most, "largest error": largest}
    return {"points": len(errors)} | {name: round(float(value), 5) for name, value in shown.items()}


if __name__ == "__main__":
    main()
