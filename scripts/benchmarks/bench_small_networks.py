"""Points per second of a two-layer perceptron on the digits: several points at once against a plain loop over points.

    python scripts/benchmarks/bench_small_networks.py --rounds 5

The loop is what one would write: images normalised on the device, per point θ* + α·d₁ + β·d₂ tensor by tensor, one
forward pass over all examples, the mean loss and accuracy, `.item()`. It and lsweep's sweep, from directions to the
last value in its store, take turns over the same grid, as do the evaluator's tiles alone; medians of ratios within a
round are reported. Writes JSON with the environment.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lsweep import config
from lsweep.comm import SerialComm
from lsweep.directions import agreement
from lsweep.engine import job
from lsweep.engine.setup import prepare
from lsweep.evaluate import problem
from lsweep.evaluate.device import describe
from lsweep.models import parameters as weights
from lsweep.tools import provenance

NET = """
from torch import nn

def make_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, {hidden}), nn.ReLU(), nn.Linear({hidden}, 10))
"""


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        settings = configuration(Path(folder), args)
        swept = problem.build(settings, SerialComm())
        train(swept, args.epochs)
        # Networks of their own: the evaluator has borrowed this one and moves it.
        loop, sweep = plain_loop(settings, twin(swept)), whole_sweep(settings, twin(swept))
        with prepare(settings, swept, SerialComm(), None) as ready:
            tiles = evaluator_alone(ready.evaluator, settings, ready.plan.tile)
            agree(loop(), tiles(), sweep())
            seconds = take_turns({"loop": loop, "sweep": sweep, "evaluator": tiles}, args.rounds)
            report(args, settings, ready.plan.tile, seconds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--points", type=int, default=101, help="along each axis")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--at-once", default="auto", help="evaluate.points_at_once")
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--output", type=Path, default=Path("results/bench/small_networks.json"))
    return parser.parse_args()


def configuration(folder: Path, args: argparse.Namespace) -> config.Config:
    (folder / "net.py").write_text(NET.format(hidden=args.hidden))
    (folder / "sweep.toml").write_text(
        f'output = ""\n[model]\nsource = "{folder}/net.py:make_net"\n[data]\nsource = "digits"\n'
    )
    return config.load(
        str(folder / "sweep.toml"),
        [
            f"evaluate.points_at_once={args.at_once}",
            f"evaluate.batch_size={args.batch_size}",
            f"evaluate.device={args.device}",
            f"grid.x.num={args.points}",
            f"grid.y.num={args.points}",
        ],
    )


def train(swept: problem.Problem, epochs: int) -> None:
    """To a minimum, so that losses are what they are in use."""
    inputs, targets = examples(swept)
    optimiser = torch.optim.Adam(swept.model.parameters(), lr=0.01)
    for _ in range(epochs):
        for some in torch.randperm(len(targets)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(swept.model(inputs[some]), targets[some]).backward()
            optimiser.step()
    for parameter in swept.model.parameters():
        parameter.grad = None


def twin(swept: problem.Problem) -> problem.Problem:
    return dataclasses.replace(swept, model=copy.deepcopy(swept.model))


def examples(swept: problem.Problem) -> tuple[torch.Tensor, torch.Tensor]:
    data = swept.splits["train"]
    inputs, targets = next(data.batches(len(data)))
    return inputs, targets


def plain_loop(settings: config.Config, swept: problem.Problem) -> Callable[[], np.ndarray]:
    """(points, 2): loss and accuracy, one point after another."""
    device = settings.evaluate.device
    space = weights.weight_space(swept.model)
    drawn = agreement.make(settings.directions, settings.grid.names, swept.model, SerialComm(), space)
    one, other = ([tensor.to(device) for tensor in axis] for axis in drawn)
    model: nn.Module = swept.model.to(device)
    inputs, targets = (tensor.to(device) for tensor in examples(swept))
    points = settings.grid.coordinates(np.arange(settings.grid.size)).tolist()

    def evaluate() -> np.ndarray:
        parameters = list(model.parameters())
        centre = [p.detach().clone() for p in parameters]
        rows = []
        with torch.no_grad():
            for alpha, beta in points:
                for parameter, start, d, e in zip(parameters, centre, one, other, strict=True):
                    parameter.copy_(start + alpha * d + beta * e)
                output = model(inputs)
                loss = F.cross_entropy(output, targets)
                accuracy = (output.argmax(1) == targets).float().mean()
                rows.append((loss.item(), accuracy.item()))
            for parameter, start in zip(parameters, centre, strict=True):
                parameter.copy_(start)
        return np.array(rows)

    return evaluate


def whole_sweep(settings: config.Config, swept: problem.Problem) -> Callable[[], np.ndarray]:
    """The whole of a sweep but for reading network and data."""

    def evaluate() -> np.ndarray:
        _, surface = job.execute(settings, swept, SerialComm(), None)
        assert surface is not None and surface.complete
        return np.stack([surface.loss.ravel(), surface.metrics["accuracy"].ravel()], axis=1)

    return evaluate


def evaluator_alone(evaluator: Any, settings: config.Config, size: int) -> Callable[[], np.ndarray]:
    points = settings.grid.coordinates(np.arange(settings.grid.size))

    def evaluate() -> np.ndarray:
        return np.concatenate(
            [evaluator.evaluate(points[i : i + size]).values for i in range(0, len(points), size)]
        )

    return evaluate


def agree(*surfaces: np.ndarray) -> None:
    for other in surfaces[1:]:
        np.testing.assert_allclose(other[:, 0], surfaces[0][:, 0], rtol=1e-3)


def take_turns(candidates: dict[str, Callable[[], np.ndarray]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name, evaluate in candidates.items():
            start = time.perf_counter()
            evaluate()
            seconds[name].append(time.perf_counter() - start)
        print(
            f"round {number + 1}: " + ", ".join(f"{n} {s[-1]:.3f} s" for n, s in seconds.items()), flush=True
        )
    return seconds


def report(
    args: argparse.Namespace, settings: config.Config, at_once: int, seconds: dict[str, list[float]]
) -> None:
    ratios = {
        f"loop / {name}": round(
            statistics.median(a / b for a, b in zip(seconds["loop"], times, strict=True)), 2
        )
        for name, times in seconds.items()
        if name != "loop"
    }
    result = {
        "what": "seconds for the whole grid by candidate and round; medians of the ratios within a round",
        "points": settings.grid.size,
        "hidden": args.hidden,
        "points_at_once": at_once,
        "device": describe(torch.device(args.device)),
        "threads": torch.get_num_threads(),
        "ratios": ratios,
        "seconds": {name: [round(s, 4) for s in times] for name, times in seconds.items()},
        "environment": provenance.collect(),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({"points_at_once": at_once, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
