"""Draws the benchmarks' JSON: a PNG beside each file that is there.

python scripts/figures/plot_bench.py                    # results/bench/*.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).resolve().parents[2] / "results" / "bench"
# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
DASHES = {"static": "-", "dynamic": "--"}
MODES = {"gather": COLOURS[0], "mpio": COLOURS[1], "memory": COLOURS[2]}
LOOK = {"font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8, "legend.frameon": False}
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=RESULTS)
    args = parser.parse_args()
    with plt.rc_context(LOOK):
        for name, draw in DRAWN.items():
            path = args.folder / f"{name}.json"
            if path.exists():
                figure = draw(json.loads(path.read_text()))
                figure.savefig(path.with_suffix(".png"), dpi=200)
                plt.close(figure)
                print(path.with_suffix(".png"))


def store(found: Found) -> Figure:
    modes = list(dict.fromkeys(row["mode"] for row in found["rates"]))
    figure, axes = plt.subplots(
        1, len(modes), figsize=(2.7 * len(modes), 3.2), layout="constrained", sharey=True, squeeze=False
    )
    for ax, mode in zip(axes[0], modes, strict=True):
        rates = [row for row in found["rates"] if row["mode"] == mode]
        for ((batch,), rows), colour in zip(grouped(rates, "batch"), COLOURS, strict=False):
            errors(ax, rows, "ranks", "points_per_s", color=colour, marker="o", label=f"{batch}")
        ax.set(xscale="log", yscale="log", xlabel="ranks", title=mode)
        plain_ranks(ax, rates)
    axes[0][0].set_ylabel("points/s made durable")
    axes[0][-1].legend(title="points in a batch", loc="upper right")
    return figure


def scheduler(found: Found) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.4), layout="constrained")
    for (mode, kind), rows in grouped(found["table"], "mode", "kind"):
        style = {"color": MODES[mode], "ls": DASHES[kind], "marker": "o", "label": f"{mode}, {kind}"}
        errors(left, [r for r in rows if "overhead" in r], "ranks", "scheduling_and_storing", 100, **style)
        null = [r for r in rows if "microseconds_per_point" in r]
        errors(right, null, "ranks", "microseconds_per_point", **style)
    left.axhline(100 * found["goal"], color="0.5", lw=0.8)
    left.set(
        xscale="log", xlabel="ranks", ylabel="% of the sweep", title="scheduling and storing, points of 0.1 s"
    )
    right.set(xscale="log", yscale="log", xlabel="ranks", ylabel="µs", title="a rank's point of no time")
    for ax in (left, right):
        plain_ranks(ax, found["table"])
    left.set_ylim(bottom=0)
    left.legend()
    return figure


def scaling(found: Found) -> Figure:
    figure, ax = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
    rows = found["efficiency"]
    for shift, key, colour, label in (
        (-0.06, "efficiency", COLOURS[0], "lsweep"),
        (0.06, "limit", "0.5", "the machine"),
    ):
        shifted = [{**row, "ranks": row["ranks"] + shift} for row in rows]
        errors(ax, shifted, "ranks", key, marker="o", ls="", color=colour, label=label)
    ax.axhline(found["goal"], color="0.5", lw=0.8)
    ax.set(xlabel="ranks", ylabel="efficiency", xticks=[row["ranks"] for row in rows])
    ax.set_title("strong scaling, pinned")
    ax.margins(x=0.5)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def startup(found: Found) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.0), layout="constrained")
    commands = found["commands"]
    left.barh(list(commands), [c["median"] for c in commands.values()], color=COLOURS[0])
    left.axvline(found["goal_help"], color="0.5", lw=0.8)
    left.set(xlabel="seconds", title="fresh processes")
    left.invert_yaxis()
    sweeps = found["sweep_to_first_point"]
    spans = [name for name in sweeps[0]["profile"] if name not in ("evaluating points", "storing")]
    names = [f"{row['ranks']} ranks" if row["ranks"] > 1 else "1 rank" for row in sweeps]
    ends = [0.0] * len(sweeps)
    large = sorted(spans, key=lambda s: -max(row["profile"].get(s, 0.0) for row in sweeps))[
        : len(COLOURS) - 1
    ]
    for span, colour in zip(large, COLOURS, strict=False):
        widths = [row["profile"].get(span, 0.0) for row in sweeps]
        right.barh(names, widths, left=ends, color=colour, label=span)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    right.plot([row["seconds"]["median"] for row in sweeps], names, "k|", ms=18, label="first point")
    right.set(xlabel="seconds", title="lsweep sweep, the slowest rank")
    right.invert_yaxis()
    right.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    return figure


def scale(found: Found) -> Figure:
    means = list(dict.fromkeys(row["point_seconds"] for row in found["curves"]))
    figure, axes = plt.subplots(
        1, len(means), figsize=(3.7 * len(means), 3.4), layout="constrained", sharey=True, squeeze=False
    )
    for ax, mean in zip(axes[0], means, strict=True):
        mine = [row for row in found["curves"] if row["point_seconds"] == mean]
        for (mode, kind), rows in grouped(mine, "mode", "kind"):
            ranks = [row["ranks"] for row in rows]
            style = {"color": MODES[mode], "ls": DASHES[kind]}
            ax.plot(ranks, [row["efficiency"] for row in rows], **style, marker=".", label=f"{mode}, {kind}")
        with_start = [row for row in mine if (row["mode"], row["kind"]) == ("mpio", "dynamic")]
        ax.plot(
            [row["ranks"] for row in with_start],
            [row["efficiency_with_start"] for row in with_start],
            ":", color="0.4", label="mpio, dynamic, with the start",
        )  # fmt: skip
        ax.set(xscale="log", xlabel="ranks", title=f"points of {mean:g} s, as modelled", ylim=(0, 1.03))
    axes[0][0].set_ylabel("efficiency")
    axes[0][0].legend()
    return figure


def evaluator(found: Found) -> Figure:
    figure, ax = plt.subplots(figsize=(4.8, 2.6), layout="constrained")
    rates = {name: rate for name, rate in found["medians"].items() if not name.startswith(("matmul", "copy"))}
    ax.barh(list(rates), list(rates.values()), color=COLOURS[0])
    ax.invert_yaxis()
    ax.set(xlabel="images/s", title=Path(found["config"]).stem)
    return figure


DRAWN: Mapping[str, Callable[[Found], Figure]] = {
    "store": store,
    "scheduler": scheduler,
    "scaling": scaling,
    "startup": startup,
    "scale": scale,
    "evaluator": evaluator,
}


def grouped(rows: Sequence[Found], *keys: str) -> Iterator[tuple[tuple[Any, ...], list[Found]]]:
    """Rows by the values of `keys`, in order of appearance."""
    for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        yield values, [row for row in rows if tuple(row[key] for key in keys) == values]


def errors(ax: Axes, rows: Sequence[Found], x: str, y: str, factor: float = 1.0, **style: Any) -> None:
    """Medians, with bars from the least to the largest of the rounds."""
    middle = [factor * row[y]["median"] for row in rows]
    low = [factor * (row[y]["median"] - row[y]["least"]) for row in rows]
    high = [factor * (row[y]["largest"] - row[y]["median"]) for row in rows]
    ax.errorbar([row[x] for row in rows], middle, yerr=[low, high], lw=1.2, ms=4, elinewidth=0.8, **style)


def plain_ranks(ax: Axes, rows: Sequence[Found]) -> None:
    ranks = sorted({row["ranks"] for row in rows})
    ax.set_xticks(ranks, [str(rank) for rank in ranks])
    ax.minorticks_off()


if __name__ == "__main__":
    main()
