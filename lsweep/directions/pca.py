"""Principal component analysis of a path in weight space, and its projection onto any axes ([Li18] §7).

The rows of the path's matrix X are θᵢ − θₙ. It is never in memory as a whole: all sums are over blocks of columns, and
the principal axes come from the small matrix G = X Xᵀ, float64: if H G H u = λ u (H centres the rows), then
Xᵀ H u / √λ is an axis of unit norm, and λ / Σλ its share of the variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lsweep.errors import InputError

# Below this share of the variance an eigenvector of G is rounding error: G holds squares.
SMALLEST = 1e-12


class Rows(Protocol):
    """The rows of X, in blocks of columns.

    Attributes:
        count: n, the number of rows.
        size: N, the number of columns.
    """

    count: int
    size: int

    def blocks(self) -> Iterator[np.ndarray]:
        """Blocks (n, w) float64, from the first column to the last; the same in every pass."""
        ...


@dataclass(frozen=True)
class PrincipalComponents:
    """The principal components of X, as combinations of its rows.

    Attributes:
        weights: (n, k); axis j is Σᵢ weights[i, j]·xᵢ, of unit norm.
        variances: (n,), the variance along each component in decreasing order, Σ/(n − 1) as in scikit-learn.
        ratios: (n,), their shares of the total variance.
    """

    weights: np.ndarray
    variances: np.ndarray
    ratios: np.ndarray


@dataclass(frozen=True)
class Projection:
    """X projected onto the span of k axes by least squares.

    Attributes:
        coordinates: (n, k); xᵢ ≈ Σⱼ coordinates[i, j]·axis j.
        captured: the share of the movement Σ‖xᵢ‖² that lies in the span.
        shares: (k,), the same for each axis alone; their sum is `captured` if the axes are orthogonal.
    """

    coordinates: np.ndarray
    captured: float
    shares: np.ndarray


def gram(rows: Rows) -> np.ndarray:
    """G = X Xᵀ, (n, n) float64, in one pass."""
    total = np.zeros((rows.count, rows.count))
    for block in rows.blocks():
        total += block @ block.T
    return total


def principal(products: np.ndarray, components: int, *, centred: bool = True) -> PrincipalComponents:
    """The first principal components, from G.

    Args:
        products: G, (n, n).
        components: k.
        centred: whether the mean of the rows is subtracted first, as scikit-learn's PCA does.

    The sign makes the first row's coordinate positive.

    Raises:
        InputError: the path has fewer dimensions than `components`.
    """
    count = len(products)
    centring = np.eye(count) - (1.0 / count if centred else 0.0)
    inner = centring @ products @ centring
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    dimensions = int((values > SMALLEST * values[0]).sum()) if values[0] > 0 else 0
    if dimensions < components:
        raise InputError(
            f"the trail of {count} checkpoints moves in {dimensions} dimensions, but {components} principal axes "
            "are asked for; train for more epochs, or sweep fewer axes",
            key="directions.trail",
        )
    weights = centring @ vectors[:, :components] / np.sqrt(values[:components])
    coordinates = products @ weights
    first = np.where(
        coordinates[0] != 0, coordinates[0], coordinates[np.abs(coordinates).argmax(0), range(components)]
    )
    return PrincipalComponents(weights * np.sign(first), values / max(1, count - 1), values / values.sum())


def axes(rows: Rows, weights: np.ndarray) -> np.ndarray:
    """Σᵢ weights[i, j]·xᵢ for every j, (k, N) float32, in one pass."""
    made = np.empty((weights.shape[1], rows.size), dtype=np.float32)
    at = 0
    for block in rows.blocks():
        made[:, at : at + block.shape[1]] = weights.T @ block
        at += block.shape[1]
    return made


def project(rows: Rows, onto: np.ndarray) -> Projection:
    """Project by least squares, in one pass; the axes need not be orthogonal or of unit norm.

    Args:
        rows: X.
        onto: the axes, (k, N), linearly independent.
    """
    count = len(onto)
    inner, along = np.zeros((count, count)), np.zeros((rows.count, count))
    lengths = np.zeros(rows.count)
    at = 0
    for block in rows.blocks():
        part = onto[:, at : at + block.shape[1]].astype(np.float64)
        inner += part @ part.T
        along += block @ part.T
        lengths += np.einsum("ij,ij->i", block, block)
        at += block.shape[1]
    return _solve(inner, along, lengths)


def _solve(inner: np.ndarray, along: np.ndarray, lengths: np.ndarray) -> Projection:
    norms = np.sqrt(np.diag(inner))
    # Axes of unit norm for the solution: filter norms and learning rates make them differ by orders of magnitude.
    scaled = along / norms
    unit = np.linalg.solve(inner / np.outer(norms, norms), scaled.T).T
    moved = float(lengths.sum())
    if moved == 0:
        return Projection(unit / norms, 1.0, np.zeros(len(norms)))
    captured = float(np.einsum("ij,ij->", unit, scaled)) / moved
    return Projection(unit / norms, captured, (scaled**2).sum(axis=0) / moved)


def range_of(values: np.ndarray, margin: float) -> tuple[float, float]:
    """The ends of an axis that contains all `values` and 0, with `margin` times their span on either side.

    Rounded outwards to about three digits, so that rounding errors do not change the grid.

    Raises:
        InputError: there is no span.
    """
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = high - low
    if not 0 < span < float("inf"):
        raise InputError(
            "the trail does not move along this axis, so its range must be given: grid.x = {min = …, max = …}",
            key="grid",
        )
    exponent = int(np.floor(np.log10(span))) - 2
    step = 10.0**exponent
    ends = np.floor((low - margin * span) / step) * step, np.ceil((high + margin * span) / step) * step
    return round(float(ends[0]), -exponent), round(float(ends[1]), -exponent)
