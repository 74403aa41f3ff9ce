"""How often the intervals of `lsweep.subset` hold, on the paper's networks, point by point.

Losses of every example are computed once at points from bowl to chaos (a few minutes, kept in --cache); then the
rule runs over many random orders of the examples and is compared with the full mean. Writes JSON.

    python scripts/bench_subset_coverage.py --cache FOLDER
    python scripts/report_subset_coverage.py
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import stdtrit
from scipy.stats import rankdata

from lsweep import agreement, config, folding, intervals, moments, problem, provenance, spending, weights
from lsweep.comm import SerialComm
from lsweep.intervals import NORMAL
from lsweep.spending import Level
from lsweep.subset import Design, design

HERE = Path(__file__).resolve().parent.parent
RESULTS = HERE / "results" / "bench" / "subset_coverage"
# The centre first; then outwards through bowl and rim into what the paper calls chaos.
BOWL = [(0, 0), (0.05, 0), (0, 0.1), (0.1, -0.1), (0.25, 0), (0, -0.25), (0.25, 0.25), (-0.5, 0), (0, -0.5)]
CHASM = [(0, 0), (0, 0.05), (0, -0.05), (0, 0.1), (0.05, 0), (-0.05, 0.05), (0, -0.2)]
POINTS = {
    "resnet56": [*BOWL, (0.5, 0), (-0.5, 0.5), (0.5, -0.6), (1, 0), (1, 1)],
    "resnet56_noshort": [*CHASM, (0.25, 0), (0, 0.5), (-0.3, -0.3), (0.5, 0), (-0.5, 0.25), (1, 0), (-1, -1)],
}
TOLERANCES = [(0.02, 0.0), (0.05, 0.0), (0.2, 0.0), (0.5, 0.0), (0.02, 0.01), (0.02, 0.05)]
SCALE = math.log(10)  # cross entropy, ten classes
NAIVE, RULE = "naive t", "lsweep.subset"
RULES = (NAIVE, "strata, spending", "… and skewness", "… and n > 25 G²", RULE)


@dataclass(frozen=True)
class Losses:
    """Every example's loss at one point, and its class."""

    network: str
    point: tuple[float, float]
    loss: np.ndarray
    labels: np.ndarray


def compute(network: str, images: int, cache: Path) -> list[Losses]:
    """All points of one network, from the cache where they are there."""
    read = config.load(HERE / "results" / "li2018_resnet56" / f"{network}.toml", [f"data.limit={images}"])
    built = problem.build(read, SerialComm())
    space = weights.weight_space(built.model, "weights")
    made = agreement.make(read, built.model, SerialComm(), space)
    folded = folding.fold(built.model, space, made, torch.float32)
    moving = weights.tensors_of(folded.model, folded.space)
    theta = [tensor.detach().clone() for tensor in moving]
    found = []
    for point in POINTS[network]:
        path = cache / f"{network}_{images}_{point[0]}_{point[1]}.npz"
        if not path.exists():
            with torch.no_grad():
                for tensor, centre, *along in zip(moving, theta, *folded.directions, strict=True):
                    tensor.copy_(centre + sum(a * d for a, d in zip(point, along, strict=True)))
                batches = list(built.splits["train"].batches(50))
                losses = [
                    built.objective(folded.model.eval(), batch)["loss"][0].double() for batch in batches
                ]
            labels = torch.cat([batch[1] for batch in batches])
            np.savez(path, loss=torch.cat(losses).numpy(), labels=labels.numpy())
            print(network, point, float(torch.cat(losses).mean()), flush=True)
        stored = np.load(path)
        found.append(Losses(network, point, stored["loss"], stored["labels"]))
    return found


@dataclass(frozen=True)
class Look:
    """What one prefix says, by several rules: name → (mean, half-width)."""

    examples: int
    says: dict[str, tuple[float, float]]


def look(plain: np.ndarray, drawn: Design, ordered: np.ndarray, level: Level) -> Look:
    """One prefix: of the design's order, and for the naive rule of a plain random one."""
    n = level.examples
    one = moments.moments(plain[:n], np.zeros(n, dtype=int), np.array([len(plain)]))
    many = moments.moments(ordered[:n], drawn.strata.of[:n], drawn.strata.sizes)
    rule = intervals.mean(ordered[:n], drawn.strata.of[:n], drawn.strata.sizes, level, SCALE)
    error = math.sqrt(many.variance) or math.inf  # no variance seen, no interval
    t = -stdtrit(many.freedom, NORMAL.cdf(-level.critical)) if many.freedom else math.inf
    corrected = error * intervals.corrected_quantile(many, level)
    says = {
        NAIVE: (one.mean, -stdtrit(n - 1, 0.025) * math.sqrt(one.variance)),
        "strata, spending": (many.mean, error * t),
        "… and skewness": (many.mean, corrected),
        "… and n > 25 G²": (many.mean, corrected if abs(many.skewness) <= 0.2 else math.inf),
        RULE: (rule.mean, rule.half_width),
    }
    return Look(n, says)


def coverage(losses: Losses, orders: list[list[Look]], tolerance: tuple[float, float], rule: str) -> dict:
    """One rule at one point: how often the interval at its stop holds the full mean."""
    truth, everything = float(losses.loss.mean()), len(losses.loss)
    stops = []
    for order in orders:
        stop = (everything, truth, 0.0)
        for look in order:
            mean, half = look.says[rule]
            if half <= max(tolerance[0] * abs(mean), tolerance[1]):
                stop = (look.examples, mean, half)
                break
        stops.append(stop)
    holds = np.array([abs(mean - truth) <= half for _, mean, half in stops])
    examples = np.array([n for n, _, _ in stops])
    errors = np.array([abs(mean - truth) for _, mean, _ in stops])
    early = examples < everything
    share = float(holds.mean())
    return {
        "coverage": share,
        "binomial error": math.sqrt(share * (1 - share) / len(stops)),
        "stopped early": int(early.sum()),
        "held of these": int(holds[early].sum()),
        "median half-width": float(np.median([half for _, _, half in stops])),
        "median error": float(np.median(errors)),
        "largest error": float(errors.max()),
        "median examples": float(np.median(examples)),
        "mean examples": float(examples.mean()),
    }


def together(losses: Losses, orders: list[list[Look]], rule: str) -> float:
    """The share of orders in which the intervals of all looks hold: what α is spent for."""
    truth = float(losses.loss.mean())
    rounding = 1e-12 * abs(truth)
    said = [[look.says[rule] for look in order] for order in orders]
    return float(np.mean([all(abs(m - truth) <= half + rounding for m, half in order) for order in said]))


def features(losses: Losses, centre: Losses) -> dict:
    """What makes a point hard, and what the centre's losses would tell about it."""

    def within(values: np.ndarray) -> np.ndarray:
        labels = losses.labels
        return values - (np.bincount(labels, values) / np.bincount(labels))[labels]

    own, mean = within(losses.loss), losses.loss.mean()
    varies = own.std() > 1e-9 * mean
    squared = float(np.corrcoef(own, within(centre.loss))[0, 1] ** 2) if varies else None
    return {
        "loss": float(mean),
        "largest / mean": float(losses.loss.max() / mean),
        "standard deviation within classes / mean": float(own.std() / mean),
        "R² of the centre's losses, within classes": squared,
        "rank at the centre of the largest": int(rankdata(-centre.loss, "ordinal")[losses.loss.argmax()]),
    }


def measure(losses: Losses, orders: int) -> dict:
    """Every rule and tolerance at one point."""
    count = len(losses.loss)
    seen = []
    for seed in range(orders):
        drawn = design(losses.labels, seed=seed)
        levels = spending.levels(drawn.looks[:-1], count, 0.05)
        plain = np.random.default_rng(seed).permutation(losses.loss)
        seen.append([look(plain, drawn, losses.loss[drawn.strata.order], level) for level in levels])
    by_tolerance = {}
    for rel, absolute in TOLERANCES:
        found = {rule: coverage(losses, seen, (rel, absolute), rule) for rule in RULES}
        for rule in RULES[1:-1]:  # steps on the way, told in short
            found[rule] = {key: found[rule][key] for key in ("coverage", "mean examples")}
        by_tolerance[f"relative {rel}, absolute {absolute}"] = found
    return {
        "network": losses.network,
        "point": losses.point,
        "all looks hold": {rule: together(losses, seen, rule) for rule in (NAIVE, RULE)},
        "rules": by_tolerance,
    }


def summary(points: list[dict]) -> dict:
    """Per tolerance and rule: the worst coverage, and what it cost."""
    table = {}
    for tolerance in points[0]["rules"]:
        for rule in RULES:
            own = [p["rules"][tolerance][rule] for p in points]
            worst = min(range(len(own)), key=lambda i: own[i]["coverage"])
            table.setdefault(tolerance, {})[rule] = {
                "lowest coverage": own[worst]["coverage"],
                "at": [points[worst]["network"], *points[worst]["point"]],
                "mean examples": float(np.mean([o["mean examples"] for o in own])),
            }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder for the losses, outside of the repository"
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--orders", type=int, default=1000)
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    points = []
    for network in POINTS:
        found = compute(network, arguments.images, arguments.cache)
        for losses in found:
            points.append({**features(losses, found[0]), **measure(losses, arguments.orders)})
            print(network, losses.point, points[-1]["all looks hold"], flush=True)
    example = design(found[0].labels)
    levels = spending.levels(example.looks[:-1], arguments.images, 0.05)
    environment = {key: value for key, value in provenance.collect().items() if key != "command"}
    result = {
        "environment": environment,
        "examples": arguments.images,
        "orders": arguments.orders,
        "rules": RULES,
        "looks": example.looks,
        "critical values": [level.critical for level in levels],
        "summary": summary(points),
        "points": points,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    short = json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.5g}"))
    (RESULTS / "coverage.json").write_text(json.dumps(short, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
