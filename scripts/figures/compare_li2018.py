"""What tells the paper's two ResNet-56 networks apart, by more than their spread over random directions?

python scripts/figures/compare_li2018.py [--seeds 1-5] [--points 15] [--images 150] [--ranks 2] [--folder FOLDER]

Sweeps resnet56 and resnet56_noshort once per seed, measures their test error at the trained weights, compares, and
writes table.txt, compare.json, panels.png and README.md into the folder. Stopped or killed, the same command goes on;
when all is swept it only writes. The weights and images are expected in ../shared, see the configurations.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import lsweep
from lsweep import render
from lsweep.compare import report
from lsweep.compare.comparison import Comparison, compare
from lsweep.compare.sweeps import differences, read
from lsweep.config import seeds

ROOT = Path(__file__).resolve().parents[2]
HOME = Path("results/figures/compare_li2018")
NETWORKS = {"resnet56": "ResNet-56", "resnet56_noshort": "ResNet-56 without shortcuts"}
TEST_IMAGES = "../shared/data/cifar10/test.npz"
# What [Li18] §6 says of the network without shortcuts: "+" where its number should be the larger one.
PAPER = {
    "convex_share": ("-", "dramatic non-convexities"),
    "minima": ("+", "dramatic non-convexities"),
    "second_depth": ("+", "dramatic non-convexities"),
    "roughness": ("+", "gradients that do not point to the minimiser"),
    "largest": ("+", "the loss becomes extremely large"),
    "curvature_x": ("+", "flatter minimisers have lower test errors"),
    "curvature_y": ("+", "flatter minimisers have lower test errors"),
    "below_0.1": ("-", "flatter minimisers have lower test errors"),
    "below_1": ("-", "flatter minimisers have lower test errors"),
    "below_10": ("-", "the loss becomes extremely large"),
}


def sweep(network: str, args: argparse.Namespace, *more: str) -> None:
    """Sweep, or go on; leaves with the status of what did not come to its end."""
    command = [sys.executable, "-m", "lsweep", "sweep", str(HOME / f"{network}.toml"), *more]
    ranks = ["mpirun", "-n", str(args.ranks)] if args.ranks > 1 else []
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    status = subprocess.run([*ranks, *command], env=environment).returncode
    if status:
        sys.exit(status)


def sets(**values: object) -> list[str]:
    return [part for key, value in values.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def swept(network: str, args: argparse.Namespace) -> list[Path]:
    output = args.folder / f"{network}.h5"
    axes = {f"grid__{axis}__num": args.points for axis in "xy"}
    sweep(network, args, "--seeds", args.seeds, *sets(output=output, data__limit=args.images, **axes))
    return [output.with_name(f"{network}_seed{seed}.h5") for seed in seeds.parse(args.seeds)]


def test_error(network: str, args: argparse.Namespace) -> float:
    """At the trained weights: a sweep of one point over the test images."""
    output = args.folder / f"{network}_test.h5"
    data = {"data__split": "test", "data__path": TEST_IMAGES, "data__limit": args.test_images}
    one = {f"grid__{axis}": "{ min = 0.0, max = 0.0, num = 1 }" for axis in "xy"}
    sweep(network, argparse.Namespace(ranks=1), *sets(output=output, **data, **one))
    return 1.0 - float(lsweep.open(output).accuracy.item())


def readme(found: Comparison, args: argparse.Namespace) -> str:
    sweeps = [s for network in found.networks for s in network.sweeps]
    sessions = [session for s in sweeps for session in s.surface.sessions]
    minutes = sum(session["stop"] - session["start"] for session in sessions) / 60
    made = {(s.surface.provenance["commit"][:12], s.surface.provenance["processor"]) for s in sweeps}
    options = [f"--{key.replace('_', '-')} {value}" for key, value in vars(args).items()]
    errors = [
        f"{100 * summary['error_test'].mean:.2f} % ({n})"
        for n, summary in zip(NETWORKS, found.summaries, strict=True)
    ]
    return f"""# The paper's two ResNet-56 networks, compared over {len(found.networks[0].sweeps)} pairs of directions

Written by [`scripts/figures/compare_li2018.py`](../../../scripts/figures/compare_li2018.py). The networks of [Li18]
figure 1, {args.points} × {args.points} points on [−1, 1]², the first {args.images} training images of CIFAR-10, fp32,
filter-normalised random directions, seeds {args.seeds}. Every number is defined in
[`docs/compare.md`](../../../docs/compare.md). On a grid this coarse, curvature at the centre is a mean over
±{2 / (args.points - 1):.2g}, and only structures wider than that are seen.

![the surfaces of the first seed](panels.png)

*Loss along the first seed's directions of each network, one scale.*

## Which numbers tell them apart

{orders(found)}

Test error at the trained weights, {args.test_images} images: {" and ".join(errors)}.

```
{report.to_text(found).rstrip()}
```

The same text: [`table.txt`](table.txt). All values, file by file: [`compare.json`](compare.json).
The sweeps: [`resnet56.toml`](resnet56.toml), [`resnet56_noshort.toml`](resnet56_noshort.toml).

## How it was made

```
python scripts/figures/compare_li2018.py {" ".join(options)}
```

{"; ".join(f"commit {commit}, {processor}" for commit, processor in sorted(made))}; {args.ranks} ranks,
{minutes:.0f} minutes of sweeping (no benchmark: the machine may have been busy).
"""


def orders(found: Comparison) -> str:
    """Per number that [Li18] speaks of: its order there, here, and whether the difference exceeds the spread."""
    labels = {number.key: number.label for number in found.numbers}
    rows = ["| number | without shortcuts, [Li18] §6 | here | apart |", "|---|---|---|---|"]
    counts = {True: 0, False: 0}
    against = 0
    for key, (sign, why) in PAPER.items():
        verdict = found.verdicts[0, 1].get(key)
        if verdict is None:
            continue
        larger = {"+": "larger", "-": "smaller"}
        here = "+" if verdict.difference > 0 else "-" if verdict.difference < 0 else "the same"
        counts[bool(verdict.separated)] += 1
        against += bool(verdict.separated) and here != sign
        apart = "?" if verdict.separated is None else "yes" if verdict.separated else "no"
        rows.append(f"| {labels[key]} | {larger[sign]} ({why}) | {larger.get(here, here)} | {apart} |")
    total = sum(counts.values())
    told = (
        f"Of {total} numbers that the paper has an order for, {counts[True]} tell the networks apart by more than their"
        f" spread\nover directions, {counts[True] - against} of these in the paper's order."
    )
    return "\n".join([told, "", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--points", type=int, default=15, help="along each axis")
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--test-images", type=int, default=10000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, default=HOME, help="for what is written, relative to the repository"
    )
    args = parser.parse_args()
    os.chdir(ROOT)
    files = {network: swept(network, args) for network in NETWORKS}
    errors = [test_error(network, args) for network in NETWORKS]
    sweeps = [read(path) for paths in files.values() for path in paths]
    for difference in differences(sweeps):
        sys.exit(difference)
    found = compare(sweeps, names=list(NETWORKS.values()), test_errors=errors)
    folder = args.folder
    (folder / "table.txt").write_text(report.to_text(found))
    (folder / "compare.json").write_text(report.to_json(found))
    firsts = [network.sweeps[0].surface for network in found.networks]
    render.save(firsts, folder / "panels.png", titles=list(NETWORKS.values()), dpi=200)
    (folder / "README.md").write_text(readme(found, args))
    print(report.to_text(found))
    print(folder / "README.md")


if __name__ == "__main__":
    main()
