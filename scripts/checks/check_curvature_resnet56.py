"""The Hessian of the paper's ResNet-56 at points of its filter-normalised plane: residuals, and fp32 against fp64.

python scripts/checks/check_curvature_resnet56.py [--points 3] [--images 100] [--shared DIR] [--no-double]

Measures and writes check.json and README.md in results/checks/curvature_resnet56/. Exit status 1 where a
residual exceeds 1e-2·λmax or an eigenvalue in float64 differs by more than 1 %.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from lsweep import config
from lsweep.comm import SerialComm
from lsweep.engine import job
from lsweep.evaluate import problem
from lsweep.tools import provenance

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "results" / "checks" / "curvature_resnet56"
POINTS = [(0.0, 0.0), (0.5, 0.5), (-0.25, 0.75)]
MEAN, STD = [125.3 / 255, 123.0 / 255, 113.9 / 255], [63.0 / 255, 62.1 / 255, 66.7 / 255]


def table(
    shared: Path, network: str, images: int, point: tuple[float, float], precision: str
) -> dict[str, Any]:
    x, y = ({"min": value, "max": value, "num": 1} for value in point)
    return {
        "output": "unused",
        "model": {"source": network, "weights": str(shared / "weights/li2018" / f"{network}.t7")},
        "data": {
            "source": "npz",
            "path": str(shared / "data/cifar10/train_1.npz"),
            "limit": images,
            "mean": MEAN,
            "std": STD,
        },
        "directions": {"seed": 2018},
        "grid": {"x": x, "y": y},
        "evaluate": {"metrics": ["hessian"], "device": "cpu", "precision": precision},
    }


def at(shared: Path, network: str, images: int, point: tuple[float, float], precision: str) -> dict[str, Any]:
    start = time.perf_counter()
    settings = config.from_table(table(shared, network, images, point, precision))
    _, surface = job.execute(settings, problem.build(settings, SerialComm()), SerialComm(), None)
    assert surface is not None
    found = {name: float(values.ravel()[0]) for name, values in surface.curvature.items()}
    return {"loss": float(surface.loss.ravel()[0]), **found, "seconds": time.perf_counter() - start}


def judge(single: dict[str, Any], double: dict[str, Any] | None) -> dict[str, Any]:
    worst = max(single["residual_min"], single["residual_max"]) / abs(single["eig_max"])
    verdict: dict[str, Any] = {"residual / eig_max": worst, "residuals hold": worst <= 1e-2}
    if double is not None:
        differ = [abs(single[end] / double[end] - 1) for end in ("eig_min", "eig_max")]
        verdict |= {"fp32 against fp64": max(differ), "fp64 agrees": max(differ) <= 1e-2}
    return verdict


def readme(found: dict[str, Any]) -> str:
    """The check as a table, from its JSON."""
    rows = []
    for row in found["points"]:
        single = row["fp32"]
        place = ", ".join(f"{value:g}" for value in row["point"])
        differ = f"{row['fp32 against fp64']:.1e}" if row["fp64"] else "not run"
        rows.append(
            f"| ({place}) | {single['loss']:.4g} | {single['eig_min']:.4g} | {single['eig_max']:.4g} | "
            f"{row['residual / eig_max']:.1e} | {differ} | {single['products']:.0f} |"
        )
    return "\n".join(
        [
            f"# The Hessian of the paper's {found['network']}, in fp32 and in fp64",
            "",
            "Written by `python scripts/checks/check_curvature_resnet56.py`: both ends of the spectrum at points of",
            "the filter-normalised plane of [Li18] figure 1 (directions of seed 2018), over the first",
            f'{found["images"]} training images, as a sweep with `metrics = ["hessian"]` computes them.',
            "Residuals are |Hv − λv| for a unit v. All values are in [`check.json`](check.json).",
            "",
            "| (α, β) | loss | λmin | λmax | largest residual in fp32, share of λmax | fp32 against fp64 | products |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "A map of |λmin/λmax| is figure 7 of [the paper's figures](../../paper/README.md#fig7).",
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=len(POINTS))
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--network", default="resnet56")
    parser.add_argument("--shared", default=os.environ.get("LSWEEP_SHARED", str(ROOT.parent / "shared")))
    parser.add_argument("--no-double", action="store_true", help="leave out the runs in float64")
    parser.add_argument("-o", "--output", default=str(OUT / "check.json"))
    args = parser.parse_args()
    shared, rows = Path(args.shared), []
    for point in POINTS[: args.points]:
        single = at(shared, args.network, args.images, point, "fp32")
        print(point, single, flush=True)
        double = None if args.no_double else at(shared, args.network, args.images, point, "fp64")
        rows.append({"point": point, "fp32": single, "fp64": double, **judge(single, double)})
        print(rows[-1], flush=True)
    holds = all(row["residuals hold"] and row.get("fp64 agrees", True) for row in rows)
    found = {
        "network": args.network,
        "images": args.images,
        "holds": holds,
        "points": rows,
        "environment": provenance.collect(),
    }
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    Path(args.output).write_text(json.dumps(found, indent=2, default=lambda v: np.asarray(v).tolist()) + "\n")
    Path(args.output).with_name("README.md").write_text(readme(found))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
