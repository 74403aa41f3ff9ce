"""What the engine asks of an evaluator, whatever it computes: named numbers at coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """What a tile came to: `values` float64 (k, metrics) in the order of `Evaluator.names`, `seconds` (k,)."""

    values: np.ndarray
    seconds: np.ndarray


class Evaluator(Protocol):
    """What the engine needs: named numbers at coordinates."""

    names: tuple[str, ...]

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first."""
        ...
