"""Images per second of the evaluator against a loop in the released code's manner and a strong eager loop.

    python scripts/benchmarks/bench_evaluator.py results/figures/li2018_resnet56/resnet56.toml --low bf16
    python scripts/benchmarks/bench_evaluator.py results/figures/li2018_resnet56/resnet56.toml --low tf32 bf16 \
        --examples 50000  # on a GPU

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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.flop_counter import FlopCounterMode

from lsweep import config
from lsweep.comm import SerialComm
from lsweep.directions import agreement
from lsweep.engine.choose import LOW
from lsweep.engine.setup import prepare
from lsweep.evaluate import problem
from lsweep.evaluate.device import describe
from lsweep.evaluate.exact import ExactEvaluator
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.sampling.stopping import ErrorBudget
from lsweep.models import parameters
from lsweep.tools import provenance

POINT = (0.3, -0.2)
# Side of the matrices whose product is timed, and bytes that are copied: enough to keep the device busy.
PRODUCTS = {"cpu": 2048, "cuda": 8192}
COPIED = {"cpu": 1 << 26, "cuda": 1 << 30}


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
    space = parameters.weight_space(swept.model)
    directions = agreement.make(settings.directions, settings.grid.names, swept.model, SerialComm(), space)
    point = np.array([POINT])
    with prepare(settings, swept, SerialComm(), None) as ready:
        ours: ExactEvaluator = ready.evaluator  # type: ignore[assignment]
        device = ready.device
        passes = {
            "manner_a": released_manner(swept, space, directions, device),
            "eager_b": eager_loop(swept, space, directions, device),
            "lsweep_fp32": lambda: ours.evaluate(point).values[0, 0],
        }
        for kind in args.low:
            certified = SampledEvaluator(ours.net, ours.batch_size, ErrorBudget(LOW[kind], args.tolerance))
            passes[f"lsweep_{kind}_raw"] = partial(raw, certified, args.examples)
            passes[f"lsweep_{kind}_certified"] = partial(whole, certified, point)
        rates = take_turns(passes, args, device)
        batch_size = ours.batch_size
    report(args, rates, gflop_per_image(settings), device, batch_size)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--low", nargs="*", choices=tuple(LOW), default=[], help="these precisions as well")
    parser.add_argument("--cpu", action="store_true", help="on the CPU, whatever else is there")
    parser.add_argument("--output", type=Path, default=Path("results/bench/evaluator.json"))
    return parser.parse_args()


def raw(certified: SampledEvaluator, examples: int) -> float:
    """The pass of low precision alone."""
    assert certified._low is not None
    certified._low.follow()
    with torch.no_grad():
        return float(certified.values("train", 0, examples, low=True)[:, 0].mean())


def whole(evaluator: SampledEvaluator, point: np.ndarray) -> float:
    return float(evaluator.evaluate(point).values[0, 0])


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
    space: parameters.WeightSpace,
    directions: list[Any],
    device: torch.device,
    point: Sequence[float] = POINT,
) -> Callable[[], None]:
    """Per-tensor update: every parameter is made anew from the centre and both directions."""
    centre = [t.detach().clone() for t in parameters.tensors_of(model, space)]
    moves = [[d.to(device) for d in axis] for axis in directions]

    def move() -> None:
        for tensor, start, dx, dy in zip(parameters.tensors_of(model, space), centre, *moves, strict=True):
            tensor.data = start + dx * float(point[0]) + dy * float(point[1])

    return move


def released_manner(
    swept: problem.Problem,
    space: parameters.WeightSpace,
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
    space: parameters.WeightSpace,
    directions: list[Any],
    device: torch.device,
) -> Callable[[], float]:
    """Normalised images on the device, one host read at the end; the network as it is.

    Batches of 100 on a CPU. On a GPU of 1000, in the layout that cuDNN is fast with in fp32.
    """
    model = copy.deepcopy(swept.model).to(device)
    move = at_point(model, space, directions, device)
    (inputs, targets) = next(next(iter(swept.splits.values())).to(device).batches(10**9))
    size = 100
    if device.type == "cuda":
        inputs, size = inputs.contiguous(), 1000

    def evaluate() -> float:
        move()
        model.eval()
        with torch.inference_mode():
            losses = [
                nn.functional.cross_entropy(model(some), labels, reduction="sum")
                for some, labels in zip(inputs.split(size), targets.split(size), strict=True)
            ]
        return float(torch.stack(losses).double().sum() / len(targets))

    return evaluate


def matrix_product(device: torch.device, kind: str, size: int) -> Callable[[], float]:
    """Four products; `kind` is a precision."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(kind, torch.float32)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, device=device, dtype=dtype)

    def multiply() -> float:
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        for _ in range(4):
            torch.mm(a, b, out=out)
        torch.backends.cuda.matmul.allow_tf32 = False
        return float(out[0, 0])

    return multiply


def copying(device: torch.device) -> Callable[[], float]:
    """Four copies within the device's memory, of a gigabyte each on a GPU."""
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy_them() -> float:
        for _ in range(4):
            target.copy_(source)
        return float(target[0])

    return copy_them


def take_turns(
    passes: dict[str, Callable[[], float]], args: argparse.Namespace, device: torch.device
) -> dict[str, list[float]]:
    """Images per second by candidate and round; for matrix products, GFLOP/s; GB/s, read and written, for copies."""
    size = PRODUCTS[device.type]
    works = {
        f"matmul_{kind}": (matrix_product(device, kind, size), 4 * 2 * size**3 / 1e9)
        for kind in ("fp32", *args.low)
    }
    works["copy"] = (copying(device), 4 * 2 * COPIED[device.type] / 1e9)
    rates: dict[str, list[float]] = {name: [] for name in [*passes, *works]}
    losses = {name: evaluate() for name, evaluate in passes.items()}  # warms up as well
    print({name: round(loss, 6) for name, loss in losses.items()})
    for work, _ in works.values():
        work()
    for number in range(args.rounds):
        for name, evaluate in passes.items():
            start = time.perf_counter()
            evaluate()
            rates[name].append(args.examples / (time.perf_counter() - start))
        for name, (work, amount) in works.items():
            start = time.perf_counter()
            work()
            rates[name].append(amount / (time.perf_counter() - start))
        print(f"round {number + 1}: " + ", ".join(f"{n} {r[-1]:.0f}" for n, r in rates.items()), flush=True)
    return rates


def gflop_per_image(settings: config.Config) -> float:
    model = problem.initial(settings.model.source)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    return float(counter.get_total_flops()) / 1e9


def report(
    args: argparse.Namespace,
    rates: dict[str, list[float]],
    gflop: float,
    device: torch.device,
    batch_size: int,
) -> None:
    def ratio(one: str, other: str, factor: float = 1.0) -> float:
        pairs = zip(rates[one], rates[other], strict=True)
        return round(statistics.median(factor * a / b for a, b in pairs), 3)

    ratios = {f"{name} / manner_a": ratio(name, "manner_a") for name in rates if name.startswith("lsweep")}
    ratios["lsweep_fp32 / eager_b"] = ratio("lsweep_fp32", "eager_b")
    ratios["lsweep_fp32 GFLOP/s / matmul_fp32"] = ratio("lsweep_fp32", "matmul_fp32", gflop)
    for kind in args.low:
        ratios[f"lsweep_{kind}_raw GFLOP/s / matmul_{kind}"] = ratio(
            f"lsweep_{kind}_raw", f"matmul_{kind}", gflop
        )
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    result = {
        "what": "images/s per candidate (matmul: GFLOP/s; copy: GB/s, read and written), medians over rounds that take "
        "turns; ratios per round",
        "config": args.config,
        "examples": args.examples,
        "rounds": args.rounds,
        "threads": torch.get_num_threads(),
        "device": describe(device),
        "batch_size": batch_size,
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
