"""Images per second of the evaluator against a loop in the released code's manner and a strong eager loop.

    python scripts/bench_evaluator.py results/li2018_resnet56/resnet56.toml --examples 500 --rounds 5

Candidates take turns, round by round, so that a machine that drifts does so for all; medians and ratios within a
round are reported. Writes JSON with the environment.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.flop_counter import FlopCounterMode

from lsweep import agreement, config, problem, provenance, weights
from lsweep.comm import SerialComm
from lsweep.estimating import EstimatingEvaluator
from lsweep.evaluator import LossEvaluator
from lsweep.precision import Precision
from lsweep.preparation import prepare
from lsweep.rule import Accuracy

POINT = (0.3, -0.2)


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = config.load(
        args.config,
        [
            "evaluate.device=cpu" if args.cpu else "evaluate.device=auto",
            f"data.limit={args.examples}",
            f"evaluate.batch_size={args.batch_size}",
        ],
    )
    swept = problem.build(settings, SerialComm())
    space = weights.weight_space(swept.model)
    directions = agreement.make(settings, swept.model, SerialComm(), space)
    point = np.array([POINT])
    with prepare(settings, swept, SerialComm(), None) as ready:
        ours: LossEvaluator = ready.evaluator  # type: ignore[assignment]
        device = ready.device
        passes = {
            "manner_a": released_manner(swept, space, directions, device),
            "eager_b": eager_loop(swept, space, directions, device, args.batch_size),
            "lsweep_fp32": lambda: ours.evaluate(point).values[0, 0],
        }
        if args.bf16:
            certified = EstimatingEvaluator(
                ours.lent, ours.batch_size, Accuracy(Precision.BF16, args.tolerance)
            )

            def raw() -> float:
                certified._low.follow()
                with torch.no_grad():
                    return float(certified.values("train", 0, args.examples, low=True)[:, 0].mean())

            passes["lsweep_bf16_raw"] = raw
            passes["lsweep_bf16_certified"] = lambda: certified.evaluate(point).values[0, 0]
        rates = take_turns(passes, args.rounds, args.examples, device)
    report(args, rates, gflop_per_image(settings), device)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--bf16", action="store_true", help="the low-precision passes as well")
    parser.add_argument("--cpu", action="store_true", help="on the CPU, whatever else is there")
    parser.add_argument("--output", type=Path, default=Path("results/bench/evaluator.json"))
    return parser.parse_args()


class Images(Dataset[tuple[torch.Tensor, int]]):
    """One image at a time, through per-image transforms, as torchvision's data sets do it."""

    def __init__(self, swept: problem.Problem) -> None:
        from torchvision import transforms

        data = next(iter(swept.splits.values()))
        self.images, self.labels = data.tree[0].numpy(), data.tree[1].numpy()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(data.transform.mean, data.transform.std)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def at_point(
    model: nn.Module,
    space: weights.WeightSpace,
    directions: list[Any],
    device: torch.device,
    point: Sequence[float] = POINT,
) -> Callable[[], None]:
    """Per-tensor update: every parameter is made anew from the centre and both directions."""
    centre = [t.detach().clone() for t in weights.tensors_of(model, space)]
    moves = [[d.to(device) for d in axis] for axis in directions]

    def move() -> None:
        for tensor, start, dx, dy in zip(weights.tensors_of(model, space), centre, *moves, strict=True):
            tensor.data = start + dx * float(point[0]) + dy * float(point[1])

    return move


def released_manner(
    swept: problem.Problem,
    space: weights.WeightSpace,
    directions: list[Any],
    device: torch.device,
    point: Sequence[float] = POINT,
    examples: int | None = None,
) -> Callable[[], float]:
    """DataLoader with two workers and per-image transforms, batch 128, per-tensor update, two host reads a batch."""
    model = copy.deepcopy(swept.model).to(device)
    move = at_point(model, space, directions, device, point)
    criterion = nn.CrossEntropyLoss()
    images = Images(swept)
    data = Subset(images, range(min(len(images), examples or len(images))))

    def evaluate() -> float:
        move()
        model.eval()
        total, correct = 0.0, 0
        with torch.no_grad():
            for inputs, targets in DataLoader(data, batch_size=128, num_workers=2):
                outputs = model(inputs.to(device))
                targets = targets.to(device)
                total += criterion(outputs, targets).item() * len(targets)
                correct += int((outputs.argmax(1) == targets).sum().item())
        return total / len(data)

    return evaluate


def eager_loop(
    swept: problem.Problem,
    space: weights.WeightSpace,
    directions: list[Any],
    device: torch.device,
    batch_size: str,
) -> Callable[[], float]:
    """Normalised images on the device, batches of 100, one host read at the end; the network as it is."""
    model = copy.deepcopy(swept.model).to(device)
    move = at_point(model, space, directions, device)
    (inputs, targets) = next(next(iter(swept.splits.values())).to(device).batches(10**9))

    def evaluate() -> float:
        move()
        model.eval()
        with torch.inference_mode():
            losses = [
                nn.functional.cross_entropy(model(some), labels, reduction="sum")
                for some, labels in zip(inputs.split(100), targets.split(100), strict=True)
            ]
        return float(torch.stack(losses).double().sum() / len(targets))

    return evaluate


def matrix_product(device: torch.device, dtype: torch.dtype, size: int = 2048) -> Callable[[], float]:
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, device=device, dtype=dtype)

    def multiply() -> float:
        for _ in range(4):
            torch.mm(a, b, out=out)
        return float(out[0, 0])

    return multiply


def take_turns(
    passes: dict[str, Callable[[], float]], rounds: int, examples: int, device: torch.device
) -> dict[str, list[float]]:
    """Images per second by candidate and round; for matrix products, GFLOP/s."""
    products = {
        "matmul_fp32": matrix_product(device, torch.float32),
        "matmul_bf16": matrix_product(device, torch.bfloat16),
    }
    rates: dict[str, list[float]] = {name: [] for name in [*passes, *products]}
    losses = {name: evaluate() for name, evaluate in passes.items()}  # warms up as well
    print({name: round(loss, 6) for name, loss in losses.items()})
    for product in products.values():
        product()
    for number in range(rounds):
        for name, evaluate in passes.items():
            start = time.perf_counter()
            evaluate()
            rates[name].append(examples / (time.perf_counter() - start))
        for name, product in products.items():
            start = time.perf_counter()
            product()
            rates[name].append(4 * 2 * 2048**3 / 1e9 / (time.perf_counter() - start))
        print(f"round {number + 1}: " + ", ".join(f"{n} {r[-1]:.0f}" for n, r in rates.items()), flush=True)
    return rates


def gflop_per_image(settings: config.Config) -> float:
    model = problem.initial(settings.model.source)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    return float(counter.get_total_flops()) / 1e9


def report(
    args: argparse.Namespace, rates: dict[str, list[float]], gflop: float, device: torch.device
) -> None:
    def ratio(one: str, other: str, factor: float = 1.0) -> float:
        pairs = zip(rates[one], rates[other], strict=True)
        return round(statistics.median(factor * a / b for a, b in pairs), 3)

    ratios = {f"{name} / manner_a": ratio(name, "manner_a") for name in rates if name.startswith("lsweep")}
    ratios["lsweep_fp32 / eager_b"] = ratio("lsweep_fp32", "eager_b")
    ratios["lsweep_fp32 GFLOP/s / matmul_fp32"] = ratio("lsweep_fp32", "matmul_fp32", gflop)
    if "lsweep_bf16_raw" in rates:
        ratios["lsweep_bf16_raw GFLOP/s / matmul_bf16"] = ratio("lsweep_bf16_raw", "matmul_bf16", gflop)
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    result = {
        "what": "images/s per candidate (matmul: GFLOP/s), medians over rounds that take turns; ratios per round",
        "config": args.config,
        "examples": args.examples,
        "rounds": args.rounds,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gflop_per_image": round(gflop, 4),
        "medians": medians,
        "ratios": ratios,
        "rates": {name: [round(v, 1) for v in values] for name, values in rates.items()},
        "environment": provenance.collect(),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({"medians": medians, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
