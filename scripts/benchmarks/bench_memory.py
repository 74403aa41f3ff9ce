"""Memory per rank of a sweep of a network with many parameters: real ranks, their peaks, and what they are made of.

    python scripts/benchmarks/bench_memory.py --ranks 1 2

Each rank first sweeps a tiny network the same way: what the process holds then (interpreter, libraries, MPI, HDF5) is
the baseline. Then it sweeps the large one, and the kernel says what the most was, from reading the weights to closing
the file. Activations are the peak of one forward pass of a batch in a process of its own, above network and data.
Writes JSON with the environment; exit status 1 if a rank needs more than the bound.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsweep import config
from lsweep.comm import SerialComm, connect
from lsweep.engine import job
from lsweep.evaluate import problem
from lsweep.tools import provenance

# In parameters, beyond data and activations.
BOUND = 6.0
EXAMPLES, SIDE = 60, 16  # a whole batch and a part of one

NETS = f"""
from torch import nn

def mlp(width):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * {SIDE}**2, width), nn.ReLU(), *[
        layer for _ in range(3) for layer in (nn.Linear(width, width), nn.ReLU())], nn.Linear(width, 10))

def vgg(width):
    def block(into):
        return nn.Conv2d(into, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    return nn.Sequential(nn.AvgPool2d(4), *block(3), *block(width), nn.MaxPool2d(2), *[
        layer for _ in range(6) for layer in block(width)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))

def small_mlp():
    return mlp(16)

def small_vgg():
    return vgg(16)

def large_mlp():
    return mlp(int("WIDTH_MLP"))

def large_vgg():
    return vgg(int("WIDTH_VGG"))
"""


def main() -> int:
    args = parse()
    if args.child:
        for said in CHILDREN[args.child](Path(args.folder), args.network, args.kind):
            print(json.dumps(said), flush=True)
        return 0
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, args.parameters, args.networks, args.kinds)
        for network in args.networks:
            about = child([], "alone", folder, network, "")[0]
            for kind in args.kinds:
                for ranks in args.ranks:
                    launcher = ["mpirun", "-n", str(ranks)] if ranks else []
                    each = child(launcher, "rank", folder, network, kind)
                    found.append(summary(network, kind, ranks, about, each))
                    print(json.dumps(found[-1]), flush=True)
    worst = max(run["beyond data and activations / parameters"] for run in found)
    result = {
        "what": "bytes per rank; peak: the most that was resident, baseline: before, after a sweep of a tiny network",
        "bound": BOUND,
        "worst": worst,
        "runs": found,
        "environment": provenance.collect(),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if worst <= BOUND else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="0: without mpirun")
    parser.add_argument("--networks", nargs="+", choices=("mlp", "vgg"), default=["mlp", "vgg"])
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=["random", "interpolate", "bf16"])
    parser.add_argument("--parameters", type=int, default=40_000_000, help="about")
    parser.add_argument("--output", type=Path, default=Path("results/bench/memory.json"))
    for name in ("child", "folder", "network", "kind"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    return parser.parse_args()


KINDS: dict[str, dict[str, str]] = {
    "random": {},
    "interpolate": {
        "directions.kind": "interpolate",
        "directions.to": "{network}_x.pt",
        "directions.to_y": "{network}_y.pt",
    },
    "bf16": {"evaluate.precision": "bf16"},
}


def make(folder: Path, parameters: int, networks: list[str], kinds: list[str]) -> None:
    """Write networks, weights and data; every rank reads them as a user's."""
    widths = {"WIDTH_MLP": int((parameters / 3) ** 0.5), "WIDTH_VGG": int((parameters / 9 / 7) ** 0.5)}
    nets = NETS
    for name, width in widths.items():
        nets = nets.replace(f'int("{name}")', str(width))
    (folder / "nets.py").write_text(nets)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (EXAMPLES, SIDE, SIDE, 3), dtype=np.uint8)
    np.savez(folder / "data.npz", images=pixels, labels=rng.integers(0, 10, EXAMPLES))
    for network in networks:
        for size in ("small", "large"):
            model = problem.initial(f"{folder}/nets.py:{size}_{network}")
            for axis in ("", "_x", "_y") if "interpolate" in kinds else ("",):
                torch.save(model.state_dict(), folder / f"{size}_{network}{axis}.pt")
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(0.9)
                        parameter[0].mul_(1.1 + len(axis))


def settings(folder: Path, network: str, kind: str) -> config.Config:
    """A sweep of nine points over two axes."""
    values = {
        "output": f"{folder}/{network}_{os.environ.get('OMPI_COMM_WORLD_SIZE', '0')}_{kind}.h5",
        "model.source": f"{folder}/nets.py:{network}",
        "model.weights": f"{folder}/{network}.pt",
        "data.source": "npz",
        "data.path": f"{folder}/data.npz",
        "evaluate.device": "cpu",
        "grid.x.num": "3",
        "grid.y.num": "3",
        **{key: value.format(network=f"{folder}/{network}") for key, value in KINDS.get(kind, {}).items()},
    }
    path = folder / f"{os.getpid()}.toml"
    path.write_text('output = "x"\n[model]\nsource = "x"\n[data]\nsource = "npz"\n')
    return config.load(str(path), [f"{key}={value}" for key, value in values.items()])


def child(launcher: list[str], role: str, folder: Path, network: str, kind: str) -> list[dict[str, Any]]:
    """Run this script as other processes and return what each said."""
    command = [*launcher, sys.executable, __file__, "--child", role, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--network", network, "--kind", kind], stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def rank(folder: Path, network: str, kind: str) -> list[dict[str, Any]]:
    """Every rank's memory over a whole sweep, on rank 0: lines of several ranks may come mixed."""
    comm = connect()
    job.sweep(settings(folder, f"small_{network}", kind), comm)
    baseline = resident()
    comm.barrier()
    reset_peak()
    job.sweep(settings(folder, f"large_{network}", kind), comm)
    each = comm.allgather({"rank": comm.rank, "baseline": baseline, "peak": peak()})
    return each if comm.is_root else []


def alone(folder: Path, network: str, kind: str) -> list[dict[str, Any]]:
    """Data, parameters, and the activations of one batch."""
    torch.set_num_threads(1)
    with torch.no_grad():
        for size in ("small", "large"):  # the first one warms up
            swept = problem.build(settings(folder, f"{size}_{network}", "random"), SerialComm())
            batch = next(swept.splits["train"].batches(50))
            before = resident()
            reset_peak()
            swept.objective(swept.model.eval(), batch)
    tensors = swept.splits["train"].tree
    sizes = {
        "data": sum(t.numel() * t.element_size() for t in tensors),
        "parameters": sum(p.numel() * p.element_size() for p in swept.model.parameters()),
        "activations": peak() - before,
    }
    return [sizes]


CHILDREN = {"rank": rank, "alone": alone}


def summary(
    network: str, kind: str, ranks: int, about: dict[str, Any], each: list[dict[str, Any]]
) -> dict[str, Any]:
    fixed = about["data"] + about["activations"]
    shares = [(one["peak"] - one["baseline"] - fixed) / about["parameters"] for one in each]
    return {
        "network": network,
        "directions": kind,
        "ranks": ranks,
        **about,
        "each rank": sorted(each, key=lambda one: one["rank"]),
        "beyond data and activations / parameters": round(max(shares), 3),
    }


def resident() -> int:
    """Bytes that this process has in memory now, shared ones included."""
    return status("VmRSS")


def peak() -> int:
    """The most since `reset_peak`."""
    return status("VmHWM")


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    sys.exit(main())
