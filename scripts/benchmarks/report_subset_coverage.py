"""The tables of results/bench/subset_coverage/README.md, from the JSON beside it (`bench_subset_coverage.py`)."""

from __future__ import annotations

import json
import math
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "results" / "bench" / "subset_coverage"
SHOWN = ["relative 0.02, absolute 0.0", "relative 0.2, absolute 0.0", "relative 0.02, absolute 0.01"]


def readme(result: dict) -> str:
    """The tables of the report."""
    orders, machine = result["orders"], result["environment"]
    lines = [
        "# How often the intervals of `lsweep.evaluate.sampling.design` hold",
        "",
        f"The paper's two networks at {len(result['points'])} points, {result['examples']} training images, {orders} "
        "random orders of them at each point;",
        "stated confidence 95 %. A point stops at the first of three looks at which its interval is narrow enough, or",
        "with all examples, whose mean is exact. *Coverage* is the share of orders whose interval at the stop has",
        f"the full mean (of 95 % the binomial error would be {100 * math.sqrt(0.05 * 0.95 / orders):.1f} %).",
        "",
        "```",
        "python scripts/benchmarks/bench_subset_coverage.py --cache FOLDER",
        "python scripts/benchmarks/report_subset_coverage.py",
        "```",
        "",
        f"Commit {machine['commit'][:12]}, {machine['processor']}. More tolerances and numbers are in `coverage.json`.",
        "",
        "Next to a minimum a relative tolerance needs all examples, since a handful of them make the loss. Far from it",
        "a few hundred do, because the network hardly looks at its input. What the rule cannot know: rare examples",
        "that lose more than any that was seen, and more than a guess does (ln 10 here).",
        "",
        "## Over all points: lowest coverage, mean number of examples",
        "",
        "Left: Student's t without strata, looked at again and again as the examples grow by a half. Right: the rule.",
        "",
        "| tolerance | " + " | ".join(result["rules"]) + " |",
        "|---|" + "---|" * len(result["rules"]),
    ]
    for tolerance, by_rule in result["summary"].items():
        cells = [f"{100 * r['lowest coverage']:.1f} %, {r['mean examples']:.0f}" for r in by_rule.values()]
        lines.append(f"| {tolerance} | " + " | ".join(cells) + " |")
    for tolerance in SHOWN:
        lines += ["", f"## Point by point: {tolerance}", "", *by_point(result, tolerance)]
    return "\n".join(lines) + "\n"


def by_point(result: dict, tolerance: str) -> list[str]:
    """A table of one tolerance: coverage of naive t and the rule, widths and examples."""
    columns = [
        "network",
        "x",
        "y",
        "loss",
        "largest / mean",
        "naive t",
        "rule",
        "stopped early, held",
        "median half-width / loss",
        "95 % error / loss",
        "median examples",
    ]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    plain, rule = result["rules"][0], result["rules"][-1]
    for p in result["points"]:
        own, naive = p["rules"][tolerance][rule], p["rules"][tolerance][plain]
        cells = [
            p["network"],
            *map(str, p["point"]),
            f"{p['loss']:.4g}",
            f"{p['largest / mean']:.1f}",
            f"{100 * naive['coverage']:.1f} %",
            f"{100 * own['coverage']:.1f} ± {100 * own['binomial error']:.1f} %",
            f"{own['stopped early']}, {own['held of these']}",
            f"{100 * own['median half-width'] / p['loss']:.2g} %",
            f"{100 * own['95 % error'] / p['loss']:.2g} %",
            f"{own['median examples']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    read = json.loads((FOLDER / "coverage.json").read_text())
    (FOLDER / "README.md").write_text(readme(read))
