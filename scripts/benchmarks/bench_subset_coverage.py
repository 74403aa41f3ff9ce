"""How often the intervals of `lsweep.evaluate.sampling.design` hold, on the paper's networks, point by point.

Losses of every example are computed once at points from bowl to chaos (a few minutes, kept in --cache); then the
rule runs over many random orders of the examples and is compared with the full mean. Writes JSON.

    python scripts/benchmarks/bench_subset_coverage.py --cache FOLDER
    python scripts/benchmarks/report_subset_coverage.py
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reference import Reference
from scipy.special import stdtrit
from scipy.stats import rankdata

from lsweep import config
from lsweep.evaluate.sampling import intervals
from lsweep.evaluate.sampling.design import Design, Subset, Tolerance, design
from lsweep.tools import provenance

HERE = Path(__file__).resolve().parents[2]
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
RULES = (NAIVE, RULE)


@dataclass(frozen=True)
class Losses:
    """Every example's loss at one point, and its class."""

    network: str
    point: tuple[float, float]
    loss: np.ndarray
    labels: np.ndarray


def compute(network: str, images: int, cache: Path) -> list[Losses]:
    """All points of one network, from the cache where they are there."""
    read = config.load(
        HERE / "results" / "figures" / "li2018_resnet56" / f"{network}.toml", [f"data.limit={images}"]
    )
    truth = Reference(read, cache / network)
    found = []
    for point in POINTS[network]:
        found.append(Losses(network, point, truth.losses(np.array(point)), truth.labels))
        print(network, point, found[-1].loss.mean(), flush=True)
    return found


@dataclass(frozen=True)
class Outcome:
    """Where a rule stops in one order of the examples, and what it says there."""

    examples: int
    mean: float
    half: float


def naive(plain: np.ndarray, tolerance: Tolerance) -> Outcome:
    """Student's t without strata, looked at again and again as the examples grow by a half."""
    count, n = len(plain), 100
    while n <= 0.9 * count:
        error = math.sqrt(plain[:n].var(ddof=1) / n * (1 - n / count))
        mean, half = float(plain[:n].mean()), -float(stdtrit(n - 1, 0.025)) * error
        if half <= max(tolerance.relative_error * abs(mean), tolerance.absolute_error):
            return Outcome(n, mean, half)
        n = math.ceil(1.5 * n)
    return Outcome(count, float(plain.mean()), 0.0)


def rule(ordered: np.ndarray, subset: Subset) -> Outcome:
    """The rule as it is."""
    stop = subset.search(lambda n: ordered[:n])
    found = subset.loss(ordered[: stop.examples], stop.level)
    return Outcome(stop.examples, found.mean, found.half_width)


def coverage(truth: float, everything: int, stops: list[Outcome]) -> dict:
    """How often the intervals at the stops hold the full mean."""
    holds = np.array([abs(stop.mean - truth) <= stop.half + 1e-12 * abs(truth) for stop in stops])
    examples = np.array([stop.examples for stop in stops])
    errors = np.array([abs(stop.mean - truth) for stop in stops])
    early = examples < everything
    share = float(holds.mean())
    return {
        "coverage": share,
        "binomial error": math.sqrt(share * (1 - share) / len(stops)),
        "stopped early": int(early.sum()),
        "held of these": int(holds[early].sum()),
        "median half-width": float(np.median([stop.half for stop in stops])),
        "median error": float(np.median(errors)),
        "95 % error": float(np.percentile(errors, 95)),
        "largest error": float(errors.max()),
        "median examples": float(np.median(examples)),
        "mean examples": float(examples.mean()),
    }


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


def measure(losses: Losses, designs: list[Design]) -> dict:
    """Both rules and every tolerance at one point, over the orders."""
    count, truth = len(losses.loss), float(losses.loss.mean())
    plain = [np.random.default_rng(seed).permutation(losses.loss) for seed in range(len(designs))]
    ordered = [losses.loss[drawn.strata.order] for drawn in designs]
    by_tolerance = {}
    for relative, absolute in TOLERANCES:
        wanted = Tolerance(relative, absolute)
        stops = {
            NAIVE: [naive(values, wanted) for values in plain],
            RULE: [
                rule(values, Subset(drawn, wanted, SCALE))
                for drawn, values in zip(designs, ordered, strict=True)
            ],
        }
        by_tolerance[f"relative {relative}, absolute {absolute}"] = {
            name: coverage(truth, count, own) for name, own in stops.items()
        }
    return {"network": losses.network, "point": losses.point, "rules": by_tolerance}


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
        designs = [design(found[0].labels, seed=seed) for seed in range(arguments.orders)]
        for losses in found:
            points.append({**features(losses, found[0]), **measure(losses, designs)})
            shown = next(iter(points[-1]["rules"].values()))[RULE]
            print(network, losses.point, shown["coverage"], shown["mean examples"], flush=True)
    environment = {key: value for key, value in provenance.collect().items() if key != "command"}
    result = {
        "environment": environment,
        "examples": arguments.images,
        "orders": arguments.orders,
        "rules": RULES,
        "first look": designs[0].looks[0],
        "critical values": [level.critical for level in intervals.spend_alpha(0.05)],
        "summary": summary(points),
        "points": points,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    short = json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.5g}"))
    (RESULTS / "coverage.json").write_text(json.dumps(short, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
