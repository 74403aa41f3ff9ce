"""How far lsweep's fp32 losses are from float64's, at the centre and at random points of the paper's two planes.

    python scripts/checks/check_fp32.py --examples 1000 --points 20

The truth is PyTorch alone: the network as it is (nothing folded), converted to float64, a plain loop over batches.
Writes results/bench/fp32.json.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lsweep import config
from lsweep.comm import SerialComm
from lsweep.directions import agreement
from lsweep.engine.setup import prepare
from lsweep.evaluate import problem
from lsweep.models import parameters
from lsweep.tools import provenance

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    points = np.concatenate([np.zeros((1, 2)), rng.uniform(-1, 1, (args.points, 2))])
    found = {
        "examples": args.examples,
        "networks": {
            network: compare(
                ROOT / "results" / "figures" / "li2018_resnet56" / f"{network}.toml", args.examples, points
            )
            for network in ("resnet56", "resnet56_noshort")
        },
        "environment": provenance.collect(),
    }
    (ROOT / "results" / "bench" / "fp32.json").write_text(json.dumps(found, indent=1) + "\n")


def compare(path: Path, examples: int, points: np.ndarray) -> dict:
    read = config.load(path, [f"data.limit={examples}", "evaluate.device=cpu"])
    swept = problem.build(read, SerialComm())
    truth = [float64(read, swept, point) for point in points]
    with prepare(read, swept, SerialComm(), None) as ready:
        losses = ready.evaluator.evaluate(points).values[:, 0]
    errors = np.abs(losses / np.array(truth) - 1)
    for point, one, other in zip(points, losses, truth, strict=True):
        print(f"{path.stem} {point}: {one:.9g} in fp32, {other:.9g} in float64", flush=True)
    print(f"{path.stem}: largest relative error {errors.max():.2e}")
    return {
        "points": points.round(6).tolist(),
        "loss": [float(loss) for loss in losses],
        "float64": truth,
        "largest relative error": float(errors.max()),
    }


@torch.no_grad()
def float64(read: config.Config, swept: problem.Problem, point: np.ndarray) -> float:
    space = parameters.weight_space(swept.model)
    directions = agreement.make(read.directions, read.grid.names, swept.model, SerialComm(), space)
    model = copy.deepcopy(swept.model).double().eval()
    for tensor, dx, dy in zip(parameters.tensors_of(model, space), *directions, strict=True):
        tensor += float(point[0]) * dx.double() + float(point[1]) * dy.double()
    [split] = swept.splits.values()
    total, count = 0.0, 0
    for inputs, labels in split.batches(100):
        total += float(nn.functional.cross_entropy(model(inputs.double()), labels, reduction="sum"))
        count += len(labels)
    return total / count


if __name__ == "__main__":
    main()
