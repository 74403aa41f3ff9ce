"""Axes, ranges and projected paths from the trails that a configuration names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lsweep.comm import Comm
from lsweep.comm.shared_memory import share_tree
from lsweep.config import DirectionsConfig
from lsweep.directions import pca
from lsweep.directions.build import moving, resolve
from lsweep.directions.checkpoint_matrix import CheckpointRows
from lsweep.directions.normalization import Tensors
from lsweep.errors import ConfigError
from lsweep.models import parameters
from lsweep.models import trail as trails
from lsweep.models.parameters import WeightSpace
from lsweep.models.trail import Trail
from lsweep.surface import Trajectory

log = logging.getLogger("lsweep")


def open_trails(
    recipe: DirectionsConfig, axes: Sequence[str], model: nn.Module, comm: Comm, space: WeightSpace
) -> TrailAxes | None:
    """Collective: the trails of `directions.trail`, or None.

    Raises:
        CheckpointError: a trail does not exist or has no checkpoint.
    """
    places = recipe.trail
    if not places:
        return None
    found = comm.on_root(lambda: [trails.find(place) for place in places])
    with comm.together():
        for place, one in zip(places, found, strict=True):
            if not one.checkpoints:
                raise ConfigError(f"the trail {place!r} holds no checkpoint yet", key="directions.trail")
    return TrailAxes(recipe, axes, found, model, comm, space)


class TrailAxes:
    """Trails with the network at the centre θ*. Only rank 0 reads their files.

    Attributes:
        trails: the trails, as read.
        sha256: per trail, the hash of its checkpoints.
    """

    def __init__(
        self,
        recipe: DirectionsConfig,
        axes: Sequence[str],
        found: Sequence[Trail],
        model: nn.Module,
        comm: Comm,
        space: WeightSpace,
    ) -> None:
        self._recipe, self._names, self.trails = recipe, axes, list(found)
        self._model, self._comm, self._space = model, comm, space
        self._theta = parameters.tensors_of(model, space)
        self._files = [trail.path(epoch) for trail in found for epoch in trail.checkpoints]
        self._explained: dict[tuple[tuple[str, ...], tuple[str, ...]], np.ndarray] = {}
        self._axes: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Tensors]] = {}
        self.sha256 = [trail.sha256 for trail in found]

    def principal(self, recipe: DirectionsConfig, component: int) -> Tensors:
        """Collective: a principal axis of all checkpoints of all trails together, of unit norm.

        Raises:
            ConfigError: θ* is not the end of the first trail, which the plane contains.
            InputError: the trail has fewer dimensions.
        """
        key = recipe.include, recipe.exclude
        if key not in self._axes:
            made, ratios = share_tree(self._comm, lambda: self._principal_axes(recipe))
            # The caller owns the memory of the axes and may free it; only the ratios are kept.
            self._axes[key], self._explained[key] = made, ratios.numpy().copy()
        return self._axes[key][component]

    def project(self, made: Sequence[Tensors]) -> Trajectory:
        """Collective: the paths in the plane of these directions, by least squares."""
        self._axes.clear()
        return self._comm.on_root(lambda: self._trajectory(made))

    def rows(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> CheckpointRows:
        """θᵢ − θ* of all checkpoints, in the parameters that move. Raises ConfigError for patterns."""
        chosen = moving(self._space, include, exclude)
        return CheckpointRows(self._files, self._model, self._space, chosen, self._theta)

    def table(self) -> list[dict[str, Any]]:
        """Trail, epoch and learning rate of each row, in JSON types."""
        names = self._recipe.trail
        return [
            {"trail": name, "epoch": e.number, "lr": e.lr if np.isfinite(e.lr) else None}
            for name, trail in zip(names, self.trails, strict=True)
            for e in trail.checkpoints
        ]

    def _principal_axes(self, recipe: DirectionsConfig) -> tuple[list[Tensors], torch.Tensor]:
        wanted = sum(resolve(self._recipe, axis).kind == "pca" for axis in self._names)
        rows = self.rows(recipe.include, recipe.exclude)
        products = pca.gram(rows)
        if products[len(self.trails[0].checkpoints) - 1].any():
            raise ConfigError(
                "the plane of a trail goes through its last checkpoint, but model.weights is another point; leave "
                "model.weights out",
                key="model.weights",
            )
        found = pca.principal(products, wanted, centred=recipe.centred)
        axes = pca.axes(rows, found.weights)
        return [rows.tensors(axis) for axis in axes], torch.from_numpy(found.ratios[:wanted].copy())

    def _trajectory(self, made: Sequence[Tensors]) -> Trajectory:
        rows = self.rows()
        found = pca.project(rows, np.stack([rows.vector(direction) for direction in made]))
        each = [(index, epoch) for index, trail in enumerate(self.trails) for epoch in trail.checkpoints]
        log.info("the plane captures %.2f %% of the trail's movement", 100 * found.captured)
        return Trajectory(
            coordinates=found.coordinates,
            epochs=np.array([epoch.number for _, epoch in each], dtype=np.int32),
            learning_rates=np.array([epoch.lr for _, epoch in each]),
            trails=np.array([index for index, _ in each], dtype=np.int32),
            names=tuple(Path(place).stem for place in self._recipe.trail),
            captured=found.captured,
            shares=found.shares,
            explained=self._explained_by_axis(),
        )

    def _explained_by_axis(self) -> np.ndarray:
        shares, components = [], 0
        for axis in self._names:
            recipe = resolve(self._recipe, axis)
            ratios = self._explained.get((recipe.include, recipe.exclude))
            known = recipe.kind == "pca" and ratios is not None
            shares.append(float(ratios[components]) if known and ratios is not None else np.nan)
            components += recipe.kind == "pca"
        return np.array(shares)
