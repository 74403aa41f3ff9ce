"""Evaluator interface: named numbers at given coordinates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from lsweep.surface import Column


@dataclass(frozen=True)
class Evaluation:
    """The results of a tile of k points.

    Attributes:
        values: float64 (k, metrics), in the order of `Evaluator.names`.
        seconds: (k,), time per point.
        columns: the columns that the evaluator declares, (k,) each: how the values were computed.
    """

    values: np.ndarray
    seconds: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


class Evaluator(ABC):
    """Evaluates points; declares everything that the engine uses of an evaluator.

    Attributes:
        names: the metrics, in order.
        columns: name → `Column` of further numbers per point, on how its values were computed.
        whole_tiles: whether all points of a tile are evaluated together, pending or not, because the number of points
            affects the bits of each.
    """

    names: tuple[str, ...]
    columns: Mapping[str, Column] = MappingProxyType({})
    whole_tiles: bool = False

    def __init__(self) -> None:
        self._notes: Counter[str] = Counter()

    @property
    def notes(self) -> Counter[str]:
        """Noteworthy conditions, with the number of points at which each occurred."""
        return self._notes

    @abstractmethod
    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first."""
