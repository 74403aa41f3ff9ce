"""The verb `lsweep curvature`: eigenvalues, trace and spectral density of the Hessian at the centre."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from lsweep.cli.session import session
from lsweep.errors import InputError
from lsweep.tools.arguments import add_config

EPILOG = """examples:
  lsweep curvature resnet56.toml --set data.limit=100
  lsweep curvature resnet56.toml --top 10 --probes 20 -o figures/resnet56
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb `curvature` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "curvature",
        help="eigenvalues, trace and spectral density of the Hessian at the trained weights",
        description="Analyse the Hessian of the mean loss at the trained weights, restricted to the parameters that "
        "the directions of CONFIG move: largest eigenvalues with eigenvectors, smallest eigenvalue, trace "
        "(Hutch++) and spectral density (stochastic Lanczos quadrature). Writes OUT.json, OUT.h5 (with "
        'the eigenvectors, for directions.kind = "file") and OUT.png. It runs in one process and needs '
        "about 8 · N bytes per parameter for N --steps. The table [curvature] in CONFIG sets tolerances "
        "and limits.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser, text="the configuration of a sweep, a TOML file")
    parser.add_argument(
        "--top", type=int, default=5, metavar="K", help="number of largest eigenpairs (default: 5)"
    )
    parser.add_argument(
        "--probes", type=int, default=10, metavar="N", help="random probes for the density (default: 10)"
    )
    parser.add_argument(
        "--steps", type=int, default=60, metavar="N", help="Lanczos steps per probe (default: 60)"
    )
    parser.add_argument(
        "--products", type=int, default=60, metavar="N", help="Hessian products for the trace (default: 60)"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="path of the files, without suffix (default: that of the sweep's output, followed by _curvature)",
    )
    parser.add_argument("--quiet", action="store_true", help="only warnings and errors")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, write and draw what the arguments ask for. Raises InputError."""
    from lsweep import config as configuration

    for key in ("top", "probes", "steps", "products"):
        if getattr(args, key) < 1:
            raise InputError(f"--{key} must be >= 1, got {getattr(args, key)}", key=key)
    config = configuration.load(args.config, args.overrides)
    with session(
        "curvature needs", level=logging.WARNING if args.quiet else logging.INFO, one_rank=True
    ) as now:
        from lsweep.engine.curvature import CentreSettings, measure, report
        from lsweep.evaluate import problem

        depth = CentreSettings(args.top, args.probes, args.steps, args.products)
        found = measure(config, problem.build(config, now.comm), now.comm, depth)
        for path in _write(_stem(args.output, config.output), found, report(found, config, depth)):
            print(path)
    return 0


def _write(stem: Path, found: Any, numbers: dict[str, Any]) -> list[Path]:
    from lsweep.render.spectrum import save
    from lsweep.store.eigen import write
    from lsweep.tools.files import write_bytes

    text, data, figure = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("json", "h5", "png"))
    write_bytes(text, (json.dumps(numbers, indent=2) + "\n").encode())
    pairs = found.top
    vectors = [[t.numpy() for t in vector] for vector in found.vectors]
    measured = (found.density.nodes, found.density.weights)
    write(data, pairs.values, pairs.residuals, vectors, *measured, attributes=json.dumps(numbers))
    save(figure, *measured, size=found.size, eigenvalues=[*pairs.values, *found.bottom.values])
    return [text, data, figure]


def _stem(output: str | None, sweep: str) -> Path:
    if output is None:
        path = Path(sweep)
        return path.with_name(f"{path.stem}_curvature")
    path = Path(output)
    return path.with_suffix("") if path.suffix in (".json", ".h5", ".png") else path
