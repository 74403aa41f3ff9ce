"""Consistency of directions: the same tensors on every rank and in every session of a sweep."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lsweep.comm import Comm
from lsweep.comm.shared_memory import share_tree
from lsweep.config import DirectionsConfig
from lsweep.directions import build
from lsweep.directions.normalization import Tensors
from lsweep.grid import AXIS_NAMES
from lsweep.models import checkpoint, parameters
from lsweep.models.parameters import WeightSpace
from lsweep.store import StoredDirections, reader, validation

log = logging.getLogger("lsweep")

PrincipalAxis = Callable[[DirectionsConfig, int], Tensors]
Eigenvectors = Callable[[Sequence[bool], Sequence[int]], list[Tensors]]


def make(
    recipe: DirectionsConfig,
    axes: Sequence[str],
    model: nn.Module,
    comm: Comm,
    space: WeightSpace,
    principal: PrincipalAxis | None = None,
    eigenvectors: Eigenvectors | None = None,
    output: Path | None = None,
) -> list[Tensors]:
    """Collective: generate the directions of the configuration; only rank 0 reads files.

    Args:
        recipe: configuration of the directions of all axes.
        axes: names of the axes, "x" first.
        model: the network at θ*.
        comm: the ranks.
        space: the tensors that move.
        principal: collective, computes the axes of a trail; see `build.Sources`. None: `kind = "pca"` is refused.
        eigenvectors: see `build.Sources`. None: `kind = "hessian"` is refused.
        output: the sweep's file; eigenvectors of the same recipe in it are reused.
    """
    theta = [t.detach().cpu() for t in parameters.tensors_of(model, space)]

    @contextmanager
    def target(path: str) -> Iterator[Tensors]:
        with comm.temporary():
            state = share_tree(comm, lambda: checkpoint.read(path))
            with comm.together():
                fitting = checkpoint.check_fit(model, state, path)
            yield [fitting[entry.name] for entry in space.entries]

    @functools.cache
    def file(path: str) -> dict[str, Tensors]:
        def read() -> dict[str, Tensors]:
            stored = validation.read_direction_file(path)
            return {axis: [torch.from_numpy(a) for a in arrays] for axis, arrays in stored.items()}

        found: dict[str, Tensors] = share_tree(comm, read)
        return found

    sources = build.Sources(checkpoint=target, file=file)
    if principal is not None:
        sources = dataclasses.replace(sources, principal=principal)
    if eigenvectors is not None:
        sources = dataclasses.replace(sources, eigenvectors=eigenvectors)
    with comm.temporary():  # the result is copied into a flat vector
        ready = share_tree(comm, lambda: _ready(recipe, axes, output))
        return build.make(recipe, axes, space, theta, sources, ready)


def _ready(recipe: DirectionsConfig, axes: Sequence[str], output: Path | None) -> dict[str, Tensors]:
    """Eigenvectors stored by an earlier session: they are expensive, and their last digits depend on the machine."""
    curved = [a for a in axes if build.resolve(recipe, a).kind == "hessian"]
    if not curved or output is None or not output.exists():
        return {}
    recipes = reader.read_directions(output)["recipe"]
    same = [a for a in curved if recipes.get(a) == json.loads(json.dumps(_recipe(recipe, a)))]
    arrays = validation.read_direction_file(output) if same else {}
    return {axis: [torch.from_numpy(a) for a in arrays[axis]] for axis in same if axis in arrays}


def agree(
    comm: Comm, made: list[Tensors], space: WeightSpace, output: Path | None
) -> tuple[list[Tensors], list[str]]:
    """Collective: the same directions on every rank; on a resume, those in the file.

    Returns:
        the directions, and per axis the SHA-256 that identifies them.
    """
    hashes = [parameters.sha256(*direction) for direction in made]
    if any(other != hashes for other in comm.allgather(hashes)):
        # torch.randn gives different bits on different kinds of CPU, so all ranks use rank 0's numbers.
        log.info("ranks drew different directions; rank 0's are used")
        with comm.temporary():
            made = [build.lay_flat(direction, space) for direction in share_tree(comm, lambda: made)]
        hashes = [parameters.sha256(*direction) for direction in made]

    def begun_with() -> tuple[list[str], dict[str, Any]]:
        if output is None or not output.exists():
            return hashes, {}
        return _match_stored(output, made, hashes)

    with comm.temporary():
        adopted, before = share_tree(comm, begun_with)
        replaced = {axis: build.lay_flat(direction, space) for axis, direction in before.items()}
    return [replaced.get(axis, direction) for axis, direction in zip(AXIS_NAMES, made, strict=False)], adopted


def _match_stored(output: Path, made: list[Tensors], hashes: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Compare with the directions in the file: the hashes to use, and stored tensors that replace generated ones."""
    stored = reader.read_directions(output)
    adopted, replaced = list(hashes), {}
    for index, axis in enumerate(AXIS_NAMES[: len(made)]):
        before = stored.get(axis)
        if before is None or before["sha256"] == hashes[index]:
            continue
        ours = build.fingerprint(made[index])
        theirs = before["fingerprint"]
        if ours.shape != theirs.shape or not np.allclose(
            ours, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max()
        ):
            continue  # another direction: the identity check reports it
        adopted[index] = before["sha256"]
        if before["stored"]:
            arrays = validation.read_direction_file(output)[axis]
            replaced[axis] = [torch.from_numpy(array) for array in arrays]
        log.info(
            "direction %s differs in its last bits from the file's (another kind of CPU?): %s",
            axis,
            "the stored one is used" if before["stored"] else "accepted, it agrees within 1e-6",
        )
    return adopted, replaced


def stored(
    recipe: DirectionsConfig,
    axes: Sequence[str],
    space: WeightSpace,
    made: list[Tensors],
    hashes: list[str],
    *,
    explicit: bool,
) -> StoredDirections:
    """The part that the file stores: recipe, hashes and fingerprints, and tensors that no seed can redraw."""
    recipes = {axis: _recipe(recipe, axis) for axis in axes}
    # Random directions can be redrawn from a seed; others depend on files that may disappear.
    kept = [axis for axis in axes if explicit or recipe.keep or recipes[axis]["kind"] != "random"]
    return StoredDirections(
        recipe={"kind": "explicit"} if explicit else recipes,
        hashes=dict(zip(axes, hashes, strict=True)),
        fingerprints={axis: build.fingerprint(d) for axis, d in zip(axes, made, strict=True)},
        tensors={axis: [t.numpy() for t in d] for axis, d in zip(axes, made, strict=True) if axis in kept},
        names=[entry.name for entry in space.entries],
    )


def _recipe(recipe: DirectionsConfig, axis: str) -> dict[str, Any]:
    resolved = dataclasses.asdict(build.resolve(recipe, axis))
    return {key: value for key, value in resolved.items() if value is not None and key not in AXIS_NAMES}
