"""How many examples points take whose neighbours predict their losses, against stratified subsets.

Losses of every example are computed once at the 51 points of a row of the plane (kept in --cache); the row is then a
refined grid of which all points are evaluated, step by step, over many random orders and draws. Writes JSON.

    python scripts/benchmarks/bench_neighbours.py resnet56 --rows 0.12 0.32 --cache FOLDER
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from reference import Reference

from lsweep import config
from lsweep.evaluate.sampling.design import Tolerance, design
from lsweep.evaluate.sampling.example_losses import MeasuredLosses, Neighbours
from lsweep.evaluate.sampling.stopping import ErrorBudget, ExampleValues, StoppingRule
from lsweep.grid import Axis, Grid, Refine
from lsweep.surface import Precision
from lsweep.tools import provenance

HERE = Path(__file__).resolve().parents[2]
GRID = Grid(Axis(-1.0, 1.0, 51), refine=Refine(0.02))
BOUNDS = (0.0, 0.3, 1.0, 3.0, math.inf)  # of the loss, between which points are put together


def main() -> None:
    args = parse()
    plain = HERE / "results" / "figures" / "li2018_resnet56" / f"{args.network}.toml"
    truth = Reference(config.load(plain, [f"data.limit={args.images}", *args.set]), args.cache / args.network)
    points = []
    for y in args.rows:
        rows = np.array([truth.losses(np.array([x, y])) for x in GRID.x.values.round(6) + 0.0])
        points += along(rows, truth.labels, y, args)
    found = {
        "network": args.network,
        "images": args.images,
        "tolerance": args.tolerance,
        "orders": args.orders,
        "by step": summary(points, lambda point: f"step {point['step']}"),
        "by loss": summary(points, lambda point: bracket(point["loss"])),
        "points": points,
        "environment": provenance.collect(),
    }
    path = HERE / "results" / "bench" / "neighbours" / f"{args.network}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    for part in ("by step", "by loss"):
        for name, row in found[part].items():
            print(name, row)


def along(rows: np.ndarray, labels: np.ndarray, y: float, args: argparse.Namespace) -> list[dict]:
    """What each point of a row, losses (51, N), took in each order, and how far it was off."""
    outcomes: list[list[tuple[int, int, float, float]]] = [[] for _ in rows]
    for seed in range(args.orders):
        accuracy = ErrorBudget(subset=Tolerance(args.tolerance), scale=math.log(labels.max() + 1), seed=seed)
        order = design(labels, seed=seed)
        neighbours = Neighbours(GRID, {"train": order.strata}, seed)
        rule = StoppingRule(("loss",), order, accuracy, Precision.FP32)
        for point in np.argsort(neighbours.steps, kind="stable"):
            losses, prediction = rows[point], neighbours.predict("train", int(point))
            known = ExampleValues(lambda some, losses=losses: losses[some, None], order.strata.order, 1)
            alone = rule.in_full(
                ExampleValues(lambda some, losses=losses: losses[some, None], order.strata.order, 1)
            )
            found = None
            if prediction is not None:
                found = rule.by_prediction(prediction, neighbours.numbers("train", int(point)), known)
            found = found or rule.in_full(known)
            seen = np.flatnonzero(known.seen)
            measured = MeasuredLosses(seen.astype(np.int32), losses[seen].astype(np.float32))
            neighbours.learn(int(point), {"train": measured})
            off = [abs(float(estimate.means[0]) / losses.mean() - 1) for estimate in (found, alone)]
            outcomes[point].append((len(seen), alone.examples, off[0], off[1]))
    steps = neighbours.steps
    return [
        {
            "x": float(GRID.x.values[point]),
            "y": y,
            "loss": float(rows[point].mean()),
            "step": int(steps[point]),
            "examples": float(np.mean([found[0] for found in outcomes[point]])),
            "examples of a stratified subset": float(np.mean([found[1] for found in outcomes[point]])),
            "within the tolerance": float(np.mean([found[2] <= args.tolerance for found in outcomes[point]])),
            "95 % error": float(np.percentile([found[2] for found in outcomes[point]], 95)),
            "95 % error of a stratified subset": float(
                np.percentile([found[3] for found in outcomes[point]], 95)
            ),
        }
        for point in range(len(rows))
    ]


def bracket(loss: float) -> str:
    """The bounds between which a loss is."""
    low = max(bound for bound in BOUNDS if bound <= loss)
    high = min(bound for bound in BOUNDS if bound > loss)
    return f"loss {low:g} to {high:g}"


def summary(points: list[dict], group: object) -> dict[str, dict]:
    """Means over the points of a group, those of the foot of the ladder, which nothing predicts, left out."""
    groups: dict[str, list[dict]] = {}
    for point in points:
        if point["step"] > 0:
            groups.setdefault(group(point), []).append(point)  # type: ignore[operator]
    means = ("examples", "examples of a stratified subset", "within the tolerance")
    return {
        name: {"points": len(some)} | {key: round(float(np.mean([p[key] for p in some])), 3) for key in means}
        for name, some in sorted(groups.items())
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=["resnet56", "resnet56_noshort"])
    parser.add_argument("--rows", type=float, nargs="+", default=[0.12, 0.32], help="y of the rows")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--orders", type=int, default=40)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--cache", type=Path, required=True, help="folder for losses by example")
    parser.add_argument("--set", action="append", default=[], help="further settings of the sweep")
    return parser.parse_args()


if __name__ == "__main__":
    main()
