"""A lower precision with its point-wise check over a whole plane: time, and errors against strict fp32 everywhere.

    python scripts/benchmarks/bench_precision.py

ResNet-56 with the paper's weights, 21 × 21 points, 1000 images: `lsweep sweep` in bf16 at a tolerance of 1 %, the same
in fp32, and a loop in the released code's manner at random points, in turns. The centre of the network without
shortcuts as well, where bf16 alone is off by more than its value. Writes results/bench/precision.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from bench_approximate import ROOT, SEED, manner_a, spent, summary, timed_sweep

import lsweep
from lsweep import config
from lsweep.tools import provenance

PLANE = ("data.limit=1000", "grid.x.num=21", "grid.y.num=21")
CENTRE = ("data.limit=1000", "grid.x={min=0.0,max=0.0,num=1}", "grid.y={min=0.0,max=0.0,num=1}")
BF16 = ('evaluate.precision="bf16"', "evaluate.tolerance=0.01")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the sweeps' files")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="as in lsweep sweep, after the others")
    parser.add_argument(
        "--fp32", type=Path, help="the full sweep in fp32, where there is one; its time is left out"
    )
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    skip = ROOT / "results" / "figures" / "li2018_resnet56" / "resnet56.toml"
    chaos = ROOT / "results" / "figures" / "li2018_resnet56" / "resnet56_noshort.toml"
    plane = (*PLANE, *args.set)
    read = config.load(skip, list(plane))
    points = read.grid.coordinates(
        np.random.default_rng(SEED).choice(read.grid.size, min(9, read.grid.size), replace=False)
    )
    manner = manner_a(read)
    manner(points[0], 256)  # warms up

    def sweep(name: str, plain: Path, settings: tuple[str, ...]) -> tuple[float, lsweep.Surface]:
        output = (args.scratch / f"{name}.h5").resolve()
        output.unlink(missing_ok=True)
        seconds = timed_sweep(plain, [*settings, f'output="{output}"'], args.ranks)
        return seconds, lsweep.open(output)

    a = [manner(point, None) for point in points[:3]]
    bf16_seconds, bf16 = sweep("bf16", skip, (*plane, *BF16))
    a += [manner(point, None) for point in points[3:6]]
    fp32_seconds, fp32 = sweep("fp32", skip, plane) if args.fp32 is None else (None, lsweep.open(args.fp32))
    a += [manner(point, None) for point in points[6:]]
    _, low = sweep("centre_bf16", chaos, CENTRE + BF16)
    _, full = sweep("centre_fp32", chaos, CENTRE)

    whole = float(np.median(a)) * read.grid.size
    errors = np.abs(bf16.loss / fp32.loss - 1).reshape(-1)
    found = {
        "what": "whole commands, set-up and all; manner a: median of its points times their number",
        "ranks": args.ranks,
        "manner a, seconds per point": [round(s, 3) for s in a],
        "seconds": {
            "manner a": round(whole, 1),
            "bf16": round(bf16_seconds, 1),
            "fp32": fp32_seconds and round(fp32_seconds, 1),
        },
        "bf16 / manner a": round(whole / bf16_seconds, 3),
        "fp32 / manner a": fp32_seconds and round(whole / fp32_seconds, 3),
        "seconds of the points alone, all ranks": {
            "bf16": round(float(bf16.seconds[bf16.done].sum()), 1),
            "fp32": round(float(fp32.seconds[fp32.done].sum()), 1),
        },
        "bf16": spent(bf16),
        "errors of the loss, all points": summary(errors),
        "centre without shortcuts": {
            "bf16 with its check": float(low.loss.item()),
            "fp32": float(full.loss.item()),
            "error": round(abs(low.loss.item() / full.loss.item() - 1), 6),
        },
        "environment": provenance.collect(),
    }
    path = ROOT / "results" / "bench" / "precision.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k != "environment"}, indent=1))


if __name__ == "__main__":
    main()
