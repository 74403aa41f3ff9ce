"""The verb `lsweep directions`: cosines between a sweep's directions and their norms by layer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from lsweep.cli.session import need_torch
from lsweep.tools.arguments import add_config

if TYPE_CHECKING:
    import torch

    from lsweep.config import Config
    from lsweep.models.parameters import WeightSpace


def add_parser(subparsers: Any) -> None:
    """Add the verb `directions` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "directions",
        help="print the cosines between a sweep's directions, and their norms per tensor",
        description="Generate the directions of a configuration. Print the cosines between them, the expected cosines "
        "of random directions, and the norm of each tensor next to that of the weights.",
        epilog="example: lsweep directions resnet56.toml --set directions.normalize=none",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report. Raises InputError."""
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
            line += f"   (two random ones so normalised: |cosine| {expected:.6f} expected)"
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
