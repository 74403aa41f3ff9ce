"""Projections of a trail onto planes: the principal axes, and the two planes of [Li18] §7 that do not capture it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lsweep.config import DirectionsConfig
from lsweep.directions import pca
from lsweep.directions.build import normalize, random
from lsweep.directions.pca import Projection
from lsweep.directions.trail_axes import TrailAxes
from lsweep.models.parameters import WeightSpace


@dataclass(frozen=True)
class Report:
    """The report of `lsweep trajectory`.

    Attributes:
        parameters: the number of parameters that move.
        ratios: (n,) the principal components' shares of the variance, in decreasing order.
        planes: name → the projection onto that plane.
    """

    parameters: int
    ratios: np.ndarray
    planes: dict[str, Projection]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {
            "parameters": self.parameters,
            "explained_variance_ratio": self.ratios.tolist(),
            "planes": {
                name: {key: np.asarray(value).tolist() for key, value in dataclasses.asdict(plane).items()}
                for name, plane in self.planes.items()
            },
        }


def report(
    recipe: DirectionsConfig, trails: TrailAxes, space: WeightSpace, theta: Sequence[torch.Tensor]
) -> Report:
    """Project all checkpoints onto three planes.

    The first plane is spanned by the principal axes, the second by two random directions made by `recipe`, the third
    by the difference of the first and the last checkpoint and one of these random directions.

    Raises:
        InputError: the trail moves in fewer than two dimensions.
    """
    rows = trails.rows(recipe.include, recipe.exclude)
    found = pca.principal(pca.gram(rows), 2, centred=recipe.centred)
    generator = torch.Generator().manual_seed(recipe.seed)
    centre = [t.detach().cpu() for t in theta]
    one, other = (
        rows.vector(normalize(random(space, generator), centre, space, recipe.normalize, recipe.bias_bn))
        for _ in range(2)
    )
    start = pca.axes(rows, np.eye(rows.count)[:, :1])[0]
    planes = {
        "principal axes": pca.axes(rows, found.weights),
        "random": np.stack([one, other]),
        "initial to final, random": np.stack([start, one]),
    }
    return Report(rows.size, found.ratios, {name: pca.project(rows, onto) for name, onto in planes.items()})
