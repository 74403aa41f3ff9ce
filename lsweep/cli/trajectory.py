"""The verb `lsweep trajectory`: the share of a training's path that a plane can show."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsweep.cli.session import need_torch
from lsweep.errors import ConfigError
from lsweep.tools.arguments import add_config

if TYPE_CHECKING:
    from lsweep.directions.trail_axes import TrailAxes
    from lsweep.models.trail import Trail
    from lsweep.training.projections import Report
    from lsweep.training.steps import Steps

COMPONENTS = 6  # shown


def add_parser(subparsers: Any) -> None:
    """Add the verb `trajectory` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "trajectory",
        help="principal axes of a training path, and the share of it that a plane captures",
        description="Compute the principal axes of the checkpoints in directions.trail, their explained variance, and "
        "the share of the movement captured by their plane, by a random plane, and by the plane of (final "
        '- initial, random). A sweep with directions.kind = "pca" evaluates the loss in the plane of the '
        "principal axes. With --steps, print for each checkpoint the norm of the weights, the step to the "
        "next one, and its cosine with -grad L.",
        epilog="example: lsweep trajectory vgg9.toml --set directions.trail=results/vgg9.trail -o vgg9_path.json",
    )
    add_config(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT.json", help="also write coordinates and shares to this file"
    )
    parser.add_argument(
        "--steps",
        action="store_true",
        help="also analyse the steps: norms and histograms of the weights, and steps compared to the gradient of the "
        "loss on the whole first split",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report, and write it where asked. Raises InputError."""
    from lsweep import config as configuration
    from lsweep.tools.files import write_bytes

    config = configuration.load(args.config, args.overrides)
    if not config.directions.trail:
        raise ConfigError(
            "directions.trail must name the folder that `lsweep train` wrote", key="directions.trail"
        )
    need_torch("trajectories need")
    from lsweep.comm import alone
    from lsweep.directions import trail_axes
    from lsweep.evaluate import problem
    from lsweep.models import parameters
    from lsweep.tools import progress
    from lsweep.training import projections, steps

    comm = alone()
    made = problem.build(config, comm) if args.steps else None
    model = made.model if made else problem.network(config, comm)
    space = parameters.weight_space(model, config.directions.space)
    trails = trail_axes.open_trails(config.directions, config.grid.names, model, comm, space)
    assert trails is not None
    found = projections.report(config.directions, trails, space, parameters.tensors_of(model, space))
    print(_words(config.directions.trail, trails, found))
    table = {"checkpoints": trails.table(), **found.to_json()}
    if made:
        table["steps"] = {}
        placement = problem.place(config, model, comm, "weights")
        shown = progress.default("checkpoint")
        for place, trail in zip(config.directions.trail, trails.trails, strict=True):
            one = steps.along(config.directions, config.curvature, made, placement, trail, comm, shown)
            print(_steps(place, trail, one))
            table["steps"][place] = one.to_json()
    if args.output:
        write_bytes(Path(args.output), json.dumps(table, indent=1).encode())
        print(args.output)
    return 0


def _steps(place: str, trail: Trail, found: Steps) -> str:
    lines = [place, f"{'epoch':>7} {'rate':>9} {'norm':>11} {'step':>11} {'gradient':>11} {'cosine':>8}"]
    for i, epoch in enumerate(trail.checkpoints):
        line = f"{epoch.number:>7} {epoch.lr:>9.3g} {found.norms[i]:>11.5g}"
        if i < len(found.lengths):
            line += f" {found.lengths[i]:>11.5g} {found.gradients[i]:>11.5g} {found.cosines[i]:>+8.4f}"
        lines.append(line)
    return "\n".join(lines)


def _words(places: tuple[str, ...], trails: TrailAxes, found: Report) -> str:
    lines = [
        f"{place}: {len(trail.checkpoints)} checkpoints, epochs {trail.checkpoints[0].number} to "
        f"{trail.checkpoints[-1].number}"
        for place, trail in zip(places, trails.trails, strict=True)
    ]
    shown = ", ".join(f"{100 * ratio:.2f} %" for ratio in found.ratios[:COMPONENTS])
    more = ", …" if len(found.ratios) > COMPONENTS else ""
    lines += [
        f"{found.parameters:,} parameters move",
        f"variance along the principal axes: {shown}{more}",
        "share of the movement in a plane, and along each of its axes alone:",
    ]
    for name, plane in found.planes.items():
        alone = ", ".join(f"{100 * share:.2f} %" for share in plane.shares)
        lines.append(f"  {name:<26} {100 * plane.captured:6.2f} %   ({alone})")
    return "\n".join(lines)
