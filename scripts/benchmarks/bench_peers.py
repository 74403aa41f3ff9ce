"""lsweep against other packages that draw loss landscapes, on a task that all can do.

    python scripts/benchmarks/bench_peers.py --points 51 --rounds 5

A perceptron on the digits, trained, on a plane of two random filter-normalised directions, all training images at each
point. The packages are installed into a virtual environment that is thrown away; they share this one's torch. Each
gets its data as one batch in memory, the best case for it, and lsweep's directions where it takes any. All take
turns, each as a process of its own: timed are the whole process and the evaluation alone. What cannot be installed or
run says why in the JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
NET = """
from torch import nn

def make_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""


def main() -> None:
    args = parse()
    if args.child:
        folder = Path(args.folder)
        seconds, losses = CANDIDATES[args.child](folder, args.points)
        np.save(folder / f"{args.child}.npy", losses)
        print(json.dumps({"evaluation": seconds}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_task(folder)
        python, versions, failures = install(folder)
        names = [n for n in CANDIDATES if PACKAGES.get(n) not in failures]
        seconds: dict[str, dict[str, list[float]]] = {}
        for number in range(-1, args.rounds):  # the first one warms up
            for candidate in list(names):
                try:
                    found = timed(python, candidate, folder, args)
                except subprocess.CalledProcessError as error:
                    failures[candidate] = (error.stderr.strip().splitlines() or ["no message"])[-1]
                    names.remove(candidate)
                    continue
                if number >= 0:
                    for what, value in found.items():
                        seconds.setdefault(what, {}).setdefault(candidate, []).append(value)
            print(f"round {number + 1}: {', '.join(names)}", flush=True)
        report(args, folder, names, seconds, versions, failures)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=51, help="along each axis")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("results/bench/peers.json"))
    for name in ("child", "folder"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_task(folder: Path) -> None:
    """Write what every process reads: the network and its weights, the examples, two directions."""
    import torch
    import torch.nn.functional as F

    from lsweep.comm import SerialComm
    from lsweep.directions import agreement
    from lsweep.evaluate import problem
    from lsweep.models import parameters

    (folder / "net.py").write_text(NET)
    model = problem.initial(f"{folder}/net.py:make_net")
    torch.save(model.state_dict(), folder / "net.pt")
    settings = configuration(folder, 3)
    swept = problem.build(settings, SerialComm())
    data = swept.splits["train"]
    inputs, targets = next(data.batches(len(data)))
    optimiser = torch.optim.Adam(swept.model.parameters(), lr=0.01)
    torch.manual_seed(0)
    for _ in range(20):
        for some in torch.randperm(len(targets)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(swept.model(inputs[some]), targets[some]).backward()
            optimiser.step()
    torch.save(swept.model.state_dict(), folder / "net.pt")
    space = parameters.weight_space(swept.model)
    made = agreement.make(settings.directions, settings.grid.names, swept.model, SerialComm(), space)
    np.savez(folder / "digits.npz", images=inputs.permute(0, 2, 3, 1).numpy(), labels=targets.numpy())
    torch.save([inputs, targets, *[[t.clone() for t in direction] for direction in made]], folder / "task.pt")


def configuration(folder: Path, points: int, *more: str) -> Any:
    from lsweep import config

    # As a file, as the others have it: reading it out of scikit-learn takes longer than all else.
    known = (folder / "digits.npz").exists()
    data = f'source = "npz"\npath = "{folder}/digits.npz"' if known else 'source = "digits"'
    path = folder / "sweep.toml"
    path.write_text(
        f'output = "{folder}/sweep.h5"\n[model]\nsource = "{folder}/net.py:make_net"\n'
        f'weights = "{folder}/net.pt"\n[data]\n{data}\n[evaluate]\ndevice = "cpu"\n'
    )
    return config.load(str(path), [f"grid.x.num={points}", f"grid.y.num={points}", *more])


def install(folder: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    """The environment's python, the packages' versions, and why others could not be installed."""
    place = folder / "venv"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    ours = [sysconfig.get_path("purelib"), str(HERE.parents[1])]
    (Path(site.strip()) / "ours.pth").write_text("\n".join(ours) + "\n")
    versions, failures = {}, {}
    for package in PACKAGES.values():
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            failures[package] = (errors or ["pip failed"])[-1]
            continue
        code = f"from importlib.metadata import version; print(version({package!r}))"
        versions[package] = subprocess.check_output([python, "-c", code], text=True).strip()
    return python, versions, failures


def timed(python: Path, candidate: str, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """Run a candidate as a process of its own."""
    command = [python, __file__, "--child", candidate, "--folder", folder, "--points", args.points]
    start = time.perf_counter()
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True, cwd=folder)
    seconds = time.perf_counter() - start
    return {"process": seconds, **json.loads(done.stdout.splitlines()[-1])}


def task(folder: Path) -> tuple[Any, Any, Any, list[Any], list[Any]]:
    """Network, inputs, targets and two directions."""
    import torch

    sys.path.insert(0, str(folder))
    from net import make_net  # type: ignore[import-not-found]

    model = make_net()
    model.load_state_dict(torch.load(folder / "net.pt"))
    return (model.eval(), *torch.load(folder / "task.pt"))


def lsweep(folder: Path, points: int, at_once: str = "1") -> tuple[float, np.ndarray]:
    from lsweep.comm import alone
    from lsweep.engine import job
    from lsweep.store import reader
    from lsweep.tools.stopwatch import Stopwatch

    settings = configuration(folder, points, f"evaluate.points_at_once={at_once}", "evaluate.batch_size=auto")
    output = Path(settings.output)
    output.unlink(missing_ok=True)
    clock = Stopwatch()
    job.sweep(settings, alone(), job.Options(clock=clock))
    return clock.seconds["evaluating points"], reader.read(output).loss


def lsweep_at_once(folder: Path, points: int) -> tuple[float, np.ndarray]:
    return lsweep(folder, points, "auto")


def loss_landscapes(folder: Path, points: int) -> tuple[float, np.ndarray]:
    import loss_landscapes
    import loss_landscapes.metrics
    import torch

    model, inputs, targets, _, _ = task(folder)  # it draws directions of its own
    metric = loss_landscapes.metrics.Loss(torch.nn.CrossEntropyLoss(), inputs, targets)
    start = time.perf_counter()
    with torch.no_grad():
        found = loss_landscapes.random_plane(model, metric, distance=1, steps=points, normalization="filter")
    return time.perf_counter() - start, found


def losscape(folder: Path, points: int) -> tuple[float, np.ndarray]:
    import matplotlib

    matplotlib.use("agg")
    from losscape import create_landscape

    model, inputs, targets, x, y = task(folder)
    spent = [0.0]
    compute = create_landscape.compute_loss

    start = time.perf_counter()

    def last(*arguments: Any) -> float:
        value: float = compute(*arguments)
        spent[0] = time.perf_counter() - start  # of the last point: what comes after it is drawing
        return value

    create_landscape.compute_loss = last
    _, _, losses = create_landscape.create_3D_losscape(
        model, [(inputs, targets)], directions=[x, y], save_only=True, output_h5=False, num_points=points
    )
    return spent[0], losses


def loss_landscape_3d(folder: Path, points: int) -> tuple[float, np.ndarray]:
    import torch
    from loss_landscape_3d import LossLandscapeCalculator

    model, inputs, targets, x, y = task(folder)
    names = [name for name, _ in model.named_parameters()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    calculator = LossLandscapeCalculator(model, [(inputs, targets)], torch.nn.CrossEntropyLoss())
    axis = np.linspace(-1, 1, points)
    start = time.perf_counter()
    found = calculator.calculate(
        axis, axis, dict(zip(names, x, strict=True)), dict(zip(names, y, strict=True)), state
    )
    return time.perf_counter() - start, np.asarray(found).T  # its first axis is x


CANDIDATES: dict[str, Callable[[Path, int], tuple[float, np.ndarray]]] = {
    "lsweep": lsweep,
    "lsweep_at_once": lsweep_at_once,
    "loss_landscapes": loss_landscapes,
    "losscape": losscape,
    "loss_landscape_3d": loss_landscape_3d,
}
PACKAGES = {
    "loss_landscapes": "loss-landscapes",
    "losscape": "losscape",
    "loss_landscape_3d": "loss-landscape-3d",
}


def report(
    args: argparse.Namespace,
    folder: Path,
    names: list[str],
    seconds: dict[str, dict[str, list[float]]],
    versions: dict[str, str],
    failures: dict[str, str],
) -> None:
    from lsweep.tools import provenance

    def ratios(what: str, ours: str) -> dict[str, float]:
        mine, others = (
            seconds[what][ours],
            {n: s for n, s in seconds[what].items() if not n.startswith("lsweep")},
        )
        return {
            n: round(statistics.median(a / b for a, b in zip(s, mine, strict=True)), 2)
            for n, s in others.items()
        }

    surfaces = {name: np.load(folder / f"{name}.npy") for name in names if name != "loss_landscapes"}
    apart = {n: float(np.abs(s / surfaces["lsweep"] - 1).max()) for n, s in surfaces.items() if n != "lsweep"}
    result = {
        "what": "seconds by candidate and round; ratios: the other's time over lsweep's, medians of rounds",
        "points": args.points**2,
        "versions": versions,
        "failures": failures,
        "ratios": {
            f"{what}, over {ours}": ratios(what, ours)
            for what in seconds
            for ours in ("lsweep", "lsweep_at_once")
        },
        "largest relative difference from lsweep": {
            name: float(f"{value:.2g}") for name, value in apart.items()
        },
        "seconds": {
            what: {name: [round(s, 3) for s in found] for name, found in table.items()}
            for what, table in seconds.items()
        },
        "environment": provenance.collect(),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("versions", "failures", "ratios")}, indent=1))


if __name__ == "__main__":
    main()
