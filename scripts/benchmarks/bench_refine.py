"""How much refinement saves on the paper's two networks, and what it costs in accuracy: results/bench/refine.json.

    python scripts/benchmarks/bench_refine.py

The recorded 41 × 41 surfaces are the truth; nothing is evaluated, so no time is measured. Beside the planner: every
second point along each axis, and the least that could do: a planner that knows the truth, and evaluates a point only
where its prediction is off by more than the tolerance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from contourpy import contour_generator
from scipy.spatial import cKDTree

import lsweep
from lsweep.grid import Axis, Grid, Refine, refine
from lsweep.grid.hierarchy import coarsest, hierarchy_levels, interpolate
from lsweep.render.levels import round_levels
from lsweep.tools import provenance

ROOT = Path(__file__).resolve().parents[2] / "results"
NETWORKS = ("resnet56", "resnet56_noshort")
TOLERANCES = (0.01, 0.02, 0.05, 0.1)
LEVELS = 11  # contour levels, as `lsweep render` draws one surface
STEP = 0.05  # cells, between the places on a line where its displacement is measured


def planned(grid: Grid, truth: np.ndarray) -> tuple[np.ndarray, int]:
    """What the planner evaluates, and in how many rounds."""
    done, rounds = np.zeros(grid.size, dtype=bool), 0
    flat = truth.reshape(1, -1)
    while (new := refine.plan(grid, np.where(done, flat, np.nan), done) & ~done).any():
        done |= new
        rounds += 1
    return done.reshape(truth.shape), rounds


def every_second(truth: np.ndarray) -> np.ndarray:
    done = np.zeros(truth.shape, dtype=bool)
    done[::2, ::2] = True
    return done


def least(truth: np.ndarray, tolerance: float) -> np.ndarray:
    """Where a prediction from the steps before is off by more than the tolerance, known beforehand."""
    logs = np.log(truth)
    foot = np.ix_(*coarsest(truth.shape))
    done = np.zeros(truth.shape, dtype=bool)
    done[foot] = True
    filled = logs[foot]
    for step in hierarchy_levels(truth.shape):
        new = np.ix_(*step.points)
        predicted = step.predict(filled)
        done[new] = np.abs(predicted - logs[new]) > np.log1p(tolerance)
        filled = step.merge(filled, np.where(done[new], logs[new], predicted))
    return done


def lines(values: np.ndarray, level: float) -> np.ndarray:
    """Places on the contour lines of log-values, (n, 2), in cells, `STEP` apart."""
    places = [np.empty((0, 2))]
    for line in contour_generator(z=np.log(values)).lines(np.log(level)):
        length = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
        at = np.arange(0.0, length[-1], STEP)
        places.append(np.stack([np.interp(at, length, line[:, k]) for k in (0, 1)], axis=1))
    return np.concatenate(places)


def displacement(truth: np.ndarray, filled: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Cells from each place on a true contour line to the nearest drawn one of its level, and the reverse."""
    found = []
    for level in levels:
        a, b = lines(truth, level), lines(filled, level)
        for here, there in ((a, b), (b, a)):
            found.append(cKDTree(there).query(here)[0] if len(there) else np.full(len(here), np.inf))
    return np.concatenate(found)


def measured(truth: np.ndarray, done: np.ndarray, levels: Sequence[float]) -> dict[str, float | int | None]:
    filled = interpolate(np.where(done, truth, np.nan), done, log=True)
    off = np.abs(filled / truth - 1)[~done]
    moved = displacement(truth, filled, levels)
    return {
        "share evaluated": round(float(done.mean()), 4),
        "points interpolated": int(off.size),
        "median error": round(float(np.median(off)), 5) if off.size else None,
        "95 % error": round(float(np.percentile(off, 95)), 5) if off.size else None,
        "largest error": round(float(off.max()), 5) if off.size else None,
        "share of contour length displaced by at most a cell": round(float((moved <= 1).mean()), 4),
        "95 % displacement in cells": round(float(np.percentile(moved, 95)), 3),
    }


def table(truth: np.ndarray) -> dict[str, dict]:
    levels = tuple(float(v) for v in round_levels(float(truth.min()), float(truth.max()), LEVELS, log=True))
    found: dict[str, dict] = {"every second point": measured(truth, every_second(truth), levels)}
    axes = [Axis(-1.0, 1.0, n) for n in reversed(truth.shape)]
    for tolerance in TOLERANCES:
        for name, watched in (("refined", ()), ("refined, levels given", levels)):
            done, rounds = planned(Grid(*axes, refine=Refine(tolerance, watched)), truth)
            found[f"{name}, tolerance {tolerance:g}"] = {"rounds": rounds} | measured(truth, done, levels)
        found[f"least possible, tolerance {tolerance:g}"] = measured(truth, least(truth, tolerance), levels)
    return {"contour levels": list(levels), "measured": found}


def main() -> None:
    found = {
        "environment": provenance.collect(),
        "networks": {n: table(lsweep.open(ROOT / "li2018_resnet56" / f"{n}.h5").loss) for n in NETWORKS},
    }
    path = ROOT / "bench" / "refine.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    for name, network in found["networks"].items():
        for what, row in network["measured"].items():
            print(f"{name:17} {what:38} {list(row.values())}")


if __name__ == "__main__":
    main()
