"""The convolutions of a network, shape by shape: how near each is to what the device's arithmetic and memory allow.

    python scripts/benchmarks/bench_layers.py results/figures/li2018_resnet56/resnet56.toml --kinds fp32 tf32 bf16

A convolution with its ReLU, as lsweep runs it, cannot be faster than its operations take at the rate of a large matrix
product, nor than its input and output take at the rate of a copy. `limit` is the larger of the two times as a share
of the time that was measured. Writes JSON with the environment.
"""

from __future__ import annotations

import collections
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
import torch
from bench_evaluator import COPIED, PRODUCTS, copying, matrix_product
from torch import nn

from lsweep import config
from lsweep.comm import SerialComm
from lsweep.evaluate import problem
from lsweep.evaluate.device import choose_device, describe, repeatable
from lsweep.evaluate.kernels import fusion

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    parser = bench.parser(__doc__, "layers.json")
    parser.add_argument("config")
    parser.add_argument("--kinds", nargs="+", choices=tuple(DTYPES), default=["fp32", "bf16"])
    parser.add_argument("--examples", type=int, help="a batch; by default 50 on a CPU and 4000 on a GPU")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device, SerialComm())
    examples = args.examples or (50 if device.type == "cpu" else 4000)
    rows = []
    with repeatable(), torch.no_grad():
        copied = rate(copying(device), 4 * 2 * COPIED[device.type], device)
        for kind in args.kinds:
            size = PRODUCTS[device.type]
            product = rate(matrix_product(device, kind, size), 4 * 2 * size**3, device)
            torch.backends.cudnn.allow_tf32 = kind == "tf32"
            for (layer, shape), count in shapes(args.config).items():
                rows.append(
                    measured(layer, shape, kind, examples, device, product, copied) | {"layers": count}
                )
                print(bench.rounded(rows[-1]), flush=True)
            torch.backends.cudnn.allow_tf32 = False
    result = {
        "config": Path(args.config).name,
        "device": describe(device),
        "examples a batch": examples,
        "shares of the time": {kind: share(rows, kind) for kind in args.kinds},
        "layers": rows,
    }
    bench.write(
        args.output, "convolutions with ReLU by shape; rates of products in FLOP/s, of copies in B/s", result
    )


def shapes(path: str) -> dict[tuple[tuple[int, ...], tuple[int, ...]], int]:
    """(out, in, kernel, stride, padding) and input (C, H, W) of every 2-D convolution → how many are alike."""
    settings = config.load(path)
    model = problem.initial(settings.model.source).eval()
    found: collections.Counter[Any] = collections.Counter()

    def note(conv: nn.Module, inputs: Any, _: Any) -> None:
        assert isinstance(conv, nn.Conv2d)
        key = (conv.out_channels, conv.in_channels, conv.kernel_size[0], conv.stride[0], int(conv.padding[0]))
        found[key, tuple(inputs[0].shape[1:])] += 1

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    inputs, _ = next(next(iter(problem.build(settings, SerialComm()).splits.values())).batches(1))
    model(inputs)
    return dict(found)


def measured(
    layer: tuple[int, ...],
    shape: tuple[int, ...],
    kind: str,
    examples: int,
    device: torch.device,
    product: float,
    copied: float,
) -> dict[str, Any]:
    """One shape's time, and the two limits."""
    out, into, kernel, stride, padding = layer
    dtype = DTYPES[kind]
    halves = device.type != "cuda" or kind != "fp32"
    layout = torch.channels_last if halves else torch.contiguous_format
    conv = nn.Conv2d(into, out, kernel, stride, padding).to(device, dtype).to(memory_format=layout)  # type: ignore[call-overload]
    inputs = torch.randn(examples, *shape, device=device).to(dtype).contiguous(memory_format=layout)
    graph = torch.fx.symbolic_trace(nn.Sequential(conv, nn.ReLU()))
    graph.meta[fusion.OURS] = True
    fused = fusion.fused_copy(graph) if fusion.is_faster(graph, dtype, device) else graph
    output = fused(inputs)
    operations = 2 * output.numel() * into * kernel**2
    moved = (inputs.numel() + output.numel()) * inputs.element_size()
    seconds = operations / rate(lambda: fused(inputs), operations, device)
    by = {"arithmetic": operations / product, "memory": moved / copied}
    return {
        "kind": kind,
        "conv": f"{into}→{out}, {kernel}×{kernel}, stride {stride}",
        "input": list(shape),
        "µs an image": 1e6 * seconds / examples,
        "FLOP/s": operations / seconds,
        "B/s": moved / seconds,
        "bound by": max(by, key=lambda name: by[name]),
        "limit": max(by.values()) / seconds,
    }


def rate(work: Callable[[], object], amount: float, device: torch.device, least: float = 0.1) -> float:
    """The amount per second: the median of seven trials, each of `least` seconds or more."""
    times = []
    calls = 1
    work()
    while len(times) < 7:
        start = time.perf_counter()
        for _ in range(calls):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent = time.perf_counter() - start
        if spent < least / 2:
            calls = math.ceil(calls * min(100.0, least / max(spent, 1e-6)))
        else:
            times.append(spent / calls)
    return amount / statistics.median(times)


def share(rows: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """Of all the network's convolutions: what the limits allow over what they take."""
    mine = [row for row in rows if row["kind"] == kind]
    whole = sum(row["layers"] * row["µs an image"] for row in mine)
    return {
        "limit": sum(row["limit"] * row["layers"] * row["µs an image"] for row in mine) / whole,
        "µs an image": whole,
    }


if __name__ == "__main__":
    main()
