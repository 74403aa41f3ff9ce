"""Cosines between directions, and those expected of random ones in high dimension ([Li18] §7)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from lsweep.config import DirectionsConfig
from lsweep.directions.build import moving
from lsweep.directions.normalization import Tensors
from lsweep.models.parameters import WeightSpace


def cosines(made: Sequence[Tensors]) -> np.ndarray:
    """The cosine of the angle between each pair of directions, (k, k) float64."""
    inner = np.array([[_dot(one, other) for other in made] for one in made])
    norms = np.sqrt(np.diag(inner))
    result: np.ndarray = inner / np.outer(norms, norms)
    return result


def norms(direction: Tensors) -> list[float]:
    """The norm of each tensor of a direction."""
    return [float(tensor.double().norm()) for tensor in direction]


def expected_cosine(squares: np.ndarray, sizes: np.ndarray) -> float:
    """The expected |cosine| of two random directions that are isotropic within blocks of fixed norm.

    √(2/π · Σ s_k²/n_k) / Σ s_k, for blocks of squared norm s_k and n_k elements: the inner product is nearly
    normal with variance Σ s_k²/n_k. One block of n elements gives √(2/(πn)).

    Args:
        squares: (b,), s_k.
        sizes: (b,), n_k.
    """
    return math.sqrt(2 / math.pi * float((squares**2 / sizes).sum())) / float(squares.sum())


def blocks(
    theta: Sequence[torch.Tensor], space: WeightSpace, recipe: DirectionsConfig
) -> tuple[np.ndarray, np.ndarray] | None:
    """The blocks of a random direction, for `expected_cosine`: squared norms and sizes, float64 (b,) each.

    With filter normalisation a block is a filter, and its norm that of the trained filter. None where a part of
    the direction is not random (`bias_bn = "copy"`), or nothing is.
    """
    chosen = moving(space, recipe.include, recipe.exclude)
    squares: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    for w, entry, moves in zip(theta, space.entries, chosen, strict=True):
        if not moves or (w.dim() <= 1 and recipe.bias_bn == "zero"):
            continue
        if w.dim() <= 1 and recipe.bias_bn == "copy":
            return None
        mode = "none" if w.dim() <= 1 else recipe.normalize
        own = _block_norms(w.detach().double(), entry.filter_axis, mode)
        squares.append(own)
        sizes.append(np.full(len(own), w.numel() / len(own)))
    return (np.concatenate(squares), np.concatenate(sizes)) if squares else None


def _block_norms(w: torch.Tensor, filter_axis: int, mode: str) -> np.ndarray:
    """The squared norms of a random direction's blocks in one tensor."""
    if mode == "none":
        return np.array([float(w.numel())])
    if mode == "weight":  # every element by itself, of variance w²
        return (w**2).reshape(-1).numpy()
    if mode in ("layer", "dlayer"):
        return np.array([float((w**2).sum()) if mode == "layer" else 1.0])
    filters = w.movedim(filter_axis, 0).reshape(w.shape[filter_axis], -1)
    return (filters**2).sum(1).numpy() if mode == "filter" else np.ones(len(filters))


def _dot(one: Tensors, other: Tensors) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True))
