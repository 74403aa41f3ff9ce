"""Evaluator interface: named numbers at given coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """What a tile of k points came to.

    Attributes:
        values: float64 (k, metrics), in the order of `Evaluator.names`.
        seconds: (k,).
        columns: (k,) each, how the values came about: those that the evaluator announces in its own `columns`.
    """

    values: np.ndarray
    seconds: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


class Evaluator(Protocol):
    """What the engine needs: named numbers at coordinates.

    Optional attributes: `columns`, name → `Column`, for numbers that say how the values came about; `notes`,
    a `Counter` of remarkable things and at how many points they were met.
    """

    names: tuple[str, ...]

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first."""
        ...
