"""The verbs `lsweep trajectory` and `lsweep directions`: the share of a training path in a plane; cosines and norms."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsweep.cli.session import need_torch
from lsweep.errors import ConfigError
from lsweep.tools.arguments import add_config

if TYPE_CHECKING:
    import torch

    from lsweep.config import Config
    from lsweep.directions.trail_axes import TrailAxes
    from lsweep.models.parameters import WeightSpace
    from lsweep.models.trail import Trail
    from lsweep.training.projections import Report
    from lsweep.training.steps import Steps

COMPONENTS = 6  # shown


def add_parser(subparsers: Any) -> None:
    """Add the verbs `trajectory` and `directions` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "trajectory",
        help="print the principal axes of a training path and the share of its movement that a plane captures",
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
    parser.set_defaults(run=show_trajectory)
    parser = subparsers.add_parser(
        "directions",
        help="print the cosines between a sweep's directions, and their norms per tensor",
        description="Generate the directions of a configuration. Print the cosines between them, the expected cosines "
        "of random directions, and the norm of each tensor next to that of the weights.",
        epilog="example: lsweep directions resnet56.toml --set directions.normalize=none",
    )
    add_config(parser)
    parser.set_defaults(run=show_directions)


def show_trajectory(args: argparse.Namespace) -> int:
    """Print the shares, and write them where asked. Raises InputError."""
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


def show_directions(args: argparse.Namespace) -> int:
    """Print cosines and norms. Raises InputError."""
    from lsweep import config as configuration

    config = configuration.load(args.config, args.overrides)
    need_torch("directions need")
    from lsweep.comm import alone
    from lsweep.directions import agreement, trail_axes
    from lsweep.evaluate import problem
    from lsweep.models import parameters

    comm = alone()
    model = problem.network(config, comm)
    space = parameters.weight_space(model, config.directions.space)
    recipe, axes = config.directions, config.grid.names
    trails = trail_axes.open_trails(recipe, axes, model, comm, space)
    made = agreement.make(recipe, axes, model, comm, space, trails.principal if trails else None)
    theta = [t.detach().cpu() for t in parameters.tensors_of(model, space)]
    print("\n".join([*_angles(config, made, space, theta), "", *_norms(config, made, space, theta)]))
    return 0


def _angles(
    config: Config, made: Sequence[list[torch.Tensor]], space: WeightSpace, theta: Sequence[torch.Tensor]
) -> list[str]:
    from lsweep.directions import alignment
    from lsweep.directions.build import resolve

    between = alignment.cosines(made)
    lines = []
    for (i, one), (j, other) in combinations(enumerate(config.grid.names), 2):
        line = f"cosine of {one} and {other}: {between[i, j]:+.6f}"
        recipes = [resolve(config.directions, axis) for axis in (one, other)]
        alike = len({(r.normalize, r.bias_bn, r.include, r.exclude) for r in recipes}) == 1
        found = alignment.blocks(theta, space, recipes[0])
        if alike and found and all(recipe.kind == "random" for recipe in recipes):
            expected = alignment.expected_cosine(*found)
            line += f"   (expected |cosine| of two such random directions: {expected:.6f})"
        lines.append(line)
    return lines


def _norms(
    config: Config, made: Sequence[list[torch.Tensor]], space: WeightSpace, theta: Sequence[torch.Tensor]
) -> list[str]:
    from lsweep.directions import alignment

    columns = {"weights": alignment.norms(list(theta))}
    columns |= {axis: alignment.norms(d) for axis, d in zip(config.grid.names, made, strict=True)}
    width = max(len("whole"), *(len(entry.name) for entry in space.entries))
    lines = [f"{'norm':<{width}}  {'elements':>10}" + "".join(f"{name:>12}" for name in columns)]
    for k, entry in enumerate(space.entries):
        values = "".join(f"{column[k]:12.4g}" for column in columns.values())
        lines.append(f"{entry.name:<{width}}  {entry.numel:>10}{values}")
    whole = "".join(f"{sum(v * v for v in column) ** 0.5:12.4g}" for column in columns.values())
    return [*lines, f"{'whole':<{width}}  {space.size:>10}{whole}"]


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
