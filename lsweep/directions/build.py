"""Builds directions in weight space: random, towards another solution, eigenvectors, principal axes, or from a file.

A direction is a list of CPU float32 tensors, one per entry of a `WeightSpace`, in its order.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch

from lsweep.config import AxisDirection, DirectionsConfig
from lsweep.directions.normalization import Tensors, normalize, normalize_tensor
from lsweep.errors import ConfigError, DirectionsError
from lsweep.grid import AXIS_NAMES
from lsweep.models.parameters import WeightSpace


def _no_trail(recipe: DirectionsConfig, component: int) -> Tensors:
    raise ConfigError('directions.kind = "pca" needs a trail', key="directions.trail")


def _no_eigenvectors(moved: Sequence[bool], numbers: Sequence[int]) -> list[Tensors]:
    raise ConfigError('directions.kind = "hessian" is not possible here', key="directions.kind")


@dataclass(frozen=True)
class Sources:
    """Functions that read files, injected because this package reads none.

    Attributes:
        checkpoint: path → one tensor per entry, the target θ′ of an interpolation, for as long as the context lasts.
        file: path → axis name → arrays in parameter order, as stored in a direction file.
        principal: (recipe, j) → the j-th principal axis of the recipe's trail, counted from 0.
        eigenvectors: (which entries move, numbers) → eigenvectors of the Hessian at the centre, of unit norm; number 1
            is the largest eigenvalue's, 2 the next one's, −1 the smallest's.
    """

    checkpoint: Callable[[str], AbstractContextManager[Tensors]]
    file: Callable[[str], Mapping[str, Tensors]]
    principal: Callable[[DirectionsConfig, int], Tensors] = _no_trail
    eigenvectors: Callable[[Sequence[bool], Sequence[int]], list[Tensors]] = _no_eigenvectors


def make(
    config: DirectionsConfig,
    axes: Sequence[str],
    space: WeightSpace,
    theta: Tensors,
    sources: Sources,
    ready: Mapping[str, Tensors] = MappingProxyType({}),
) -> list[Tensors]:
    """Make one flat direction per axis.

    Random directions of axes with the same seed come from one generator, x first; an axis with a seed in its own table
    has its own generator.

    Args:
        config: the recipe; `config.x`, `.y`, `.z` override it axis by axis.
        axes: "x"[, "y"[, "z"]].
        space: the entries that move.
        theta: θ*, one tensor per entry.
        sources: functions that read checkpoints and direction files, and compute eigenvectors.
        ready: axis → its final direction, if a file has it already.

    Raises:
        ConfigError: a key that the kind needs is missing.
        DirectionsError: a file's tensors do not fit the network, a direction is zero, or two are equal.
    """
    shared = torch.Generator().manual_seed(config.seed)
    made = []
    components = 0
    curved = _eigenvectors(config, [axis for axis in axes if axis not in ready], space, sources)
    for axis in axes:
        if axis in ready:
            made.append(lay_flat(check_fit(ready[axis], space, f"the stored direction {axis}"), space))
            continue
        recipe = resolve(config, axis)
        if recipe.kind == "pca":
            made.append(lay_flat(sources.principal(recipe, components), space))
            components += 1
            continue
        own_seed = getattr(config, axis).seed is not None
        generator = torch.Generator().manual_seed(recipe.seed) if own_seed else shared
        made.append(lay_flat(_one(recipe, axis, space, theta, generator, sources, curved), space))
    _check_span(axes, made)
    return made


def resolve(config: DirectionsConfig, axis: str) -> DirectionsConfig:
    """The recipe of one axis: the common table, overridden by the keys of the axis; `to` is that of the axis."""
    own: AxisDirection = getattr(config, axis)
    target = config.to if axis == "x" else getattr(config, f"to_{axis}")
    base = replace(config, to=target, to_y=None, to_z=None, x=AxisDirection(), y=AxisDirection())
    changes = {key: value for key, value in vars(own).items() if value is not None}
    return replace(base, z=AxisDirection(), **changes)


def lay_flat(direction: Tensors, space: WeightSpace) -> Tensors:
    """The direction as views of one new flat vector, which the evaluator uses without another copy."""
    return space.views(space.flatten(direction))


def random(space: WeightSpace, generator: torch.Generator) -> Tensors:
    """Draw i.i.d. standard normals for every entry, in order, frozen and excluded ones included."""
    return [torch.randn(entry.shape, generator=generator) for entry in space.entries]


def interpolate(theta: Tensors, target: Tensors) -> Tensors:
    """The direction θ′ − θ*: α = 0 is θ*, α = 1 is θ′."""
    return [b.float() - a.float() for a, b in zip(theta, target, strict=True)]


def select(direction: Tensors, space: WeightSpace, include: Sequence[str], exclude: Sequence[str]) -> Tensors:
    """Zero the tensors that match no pattern of `include` (without patterns, all match) or a pattern of `exclude`.

    Raises:
        ConfigError: see `moving`.
    """
    chosen = moving(space, include, exclude)
    return [d if moves else torch.zeros_like(d) for d, moves in zip(direction, chosen, strict=True)]


def moving(space: WeightSpace, include: Sequence[str], exclude: Sequence[str]) -> list[bool]:
    """Select the entries that move.

    Patterns are shell wildcards on the whole parameter name: "layer1.*", "*.bias".

    Raises:
        ConfigError: a pattern that matches no parameter, or nothing left to move.
    """
    for pattern in (*include, *exclude):
        if not any(fnmatch.fnmatchcase(entry.name, pattern) for entry in space.entries):
            raise ConfigError(
                f"directions: the pattern {pattern!r} matches no parameter; the first are "
                f"{', '.join(entry.name for entry in space.entries[:4])}",
                key="directions.exclude" if pattern in exclude else "directions.include",
            )

    chosen = [_selected(entry.name, include, exclude) for entry in space.entries]
    if not any(chosen):
        raise ConfigError("directions.include and .exclude leave no parameter to move", key="directions")
    return chosen


def _selected(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    def hit(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, p) for p in patterns)

    return (not include or hit(include)) and not hit(exclude)


def moved(recipe: DirectionsConfig, space: WeightSpace) -> tuple[bool, ...]:
    """Select the entries that an axis of this recipe moves, before drawing: no buffers, `include` and `exclude`.

    Biases and BatchNorm's γ and β are included unless `bias_bn` determines them.
    """
    free = recipe.kind not in ("random", "hessian") or recipe.bias_bn == "random"
    return tuple(
        not entry.is_buffer
        and _selected(entry.name, recipe.include, recipe.exclude)
        and (free or len(entry.shape) > 1)
        for entry in space.entries
    )


def check_fit(tensors: Tensors, space: WeightSpace, where: str) -> Tensors:
    """Check that tensors read from a file fit the entries one to one.

    Raises:
        DirectionsError: the number or a shape differs; the message names the tensor.
    """
    if len(tensors) != len(space.entries):
        raise DirectionsError(
            f"{where} holds {len(tensors)} tensors, the network moves {len(space.entries)}; "
            'was it made for another network, or for space = "states"?',
            key=where,
        )
    for index, (tensor, entry) in enumerate(zip(tensors, space.entries, strict=True)):
        if tuple(tensor.shape) != entry.shape:
            raise DirectionsError(
                f"{where}: tensor {index} has shape {tuple(tensor.shape)}, {entry.name} has {entry.shape}",
                key=entry.name,
            )
    return [tensor.float() for tensor in tensors]


def fingerprint(direction: Tensors) -> np.ndarray:
    """Numbers to compare two directions: the norm of every tensor, and 64 elements; float64."""
    starts = np.cumsum([0, *(d.numel() for d in direction)])
    # float64: float32 would round 25557031 up, past the last element of a ResNet-50.
    places = torch.linspace(0, int(starts[-1]) - 1, 64, dtype=torch.float64).long().numpy()
    owners = np.searchsorted(starts, places, side="right") - 1
    elements = [_element(direction[k], int(p - starts[k])) for k, p in zip(owners, places, strict=True)]
    return np.array([*(_norm(d) for d in direction), *elements], dtype=np.float64)


def _element(tensor: torch.Tensor, place: int) -> float:
    return float(tensor[tuple(int(i) for i in np.unravel_index(place, tensor.shape))])


def _norm(tensor: torch.Tensor) -> float:
    # In pieces: a float64 copy would need twice the memory of a large tensor.
    return math.sqrt(sum(float(piece.double().square().sum()) for piece in tensor.reshape(-1).split(1 << 20)))


def _check_span(axes: Sequence[str], made: Sequence[Tensors]) -> None:
    for index, (axis, direction) in enumerate(zip(axes, made, strict=True)):
        if not any(bool(d.any()) for d in direction):
            raise DirectionsError(
                f"the direction of axis {axis} is zero everywhere, the loss would be constant along it; "
                "look at directions.bias_bn, include, exclude and to",
                key=f"directions.{axis}",
            )
        for other, before in zip(axes[:index], made[:index], strict=True):
            if all(torch.equal(a, b) for a, b in zip(before, direction, strict=True)):
                raise DirectionsError(
                    f"the directions of axes {other} and {axis} are the same; give them different seeds or targets",
                    key=f"directions.{axis}",
                )


def _one(
    recipe: DirectionsConfig,
    axis: str,
    space: WeightSpace,
    theta: Tensors,
    generator: torch.Generator,
    sources: Sources,
    curved: Mapping[str, Tensors],
) -> Tensors:
    if recipe.kind == "interpolate":
        if recipe.to is None:
            key = "directions.to" if axis == "x" else f"directions.to_{axis}"
            raise ConfigError(f'directions.kind = "interpolate" on axis {axis} needs {key}', key=key)
        with sources.checkpoint(recipe.to) as target:
            direction = interpolate(theta, target)
    elif recipe.kind == "file":
        if recipe.path is None:
            raise ConfigError('directions.kind = "file" needs directions.path', key="directions.path")
        direction = _from_file(sources.file(recipe.path), axis, space, recipe.path)
    elif recipe.kind == "hessian":
        direction = normalize(curved[axis], theta, space, recipe.normalize, recipe.bias_bn)
    else:
        # Like `random` and `normalize`, but tensor by tensor, to avoid another copy of all parameters.
        direction = [
            normalize_tensor(
                torch.randn(entry.shape, generator=generator), w, entry, recipe.normalize, recipe.bias_bn
            )
            for w, entry in zip(theta, space.entries, strict=True)
        ]
    return select(direction, space, recipe.include, recipe.exclude)


def _eigenvectors(
    config: DirectionsConfig, axes: Sequence[str], space: WeightSpace, sources: Sources
) -> dict[str, Tensors]:
    """The eigenvectors for all axes that need one; those over the same parameters are computed together."""
    wanted: dict[tuple[bool, ...], dict[str, int]] = {}
    for axis in axes:
        recipe = resolve(config, axis)
        if recipe.kind == "hessian":
            number = recipe.eigenvector or AXIS_NAMES.index(axis) + 1
            wanted.setdefault(moved(recipe, space), {})[axis] = number
    found: dict[str, Tensors] = {}
    for moving, numbers in wanted.items():
        if not any(moving):
            raise ConfigError(
                'directions.kind = "hessian": bias_bn, include and exclude leave no parameter to move',
                key="directions",
            )
        found |= zip(numbers, sources.eigenvectors(moving, list(numbers.values())), strict=True)
    return found


def _from_file(stored: Mapping[str, Tensors], axis: str, space: WeightSpace, path: str) -> Tensors:
    if axis not in stored:
        raise DirectionsError(
            f"{path!r} holds no direction for axis {axis}, only {', '.join(stored) or 'none'}", key=path
        )
    tensors = stored[axis]
    if len(tensors) > len(space.entries):  # the released code's "states" files count batches as scalars too
        tensors = [t for t in tensors if t.dim() > 0]
    return check_fit(tensors, space, f"{path!r} ({axis})")
