"""The Lanczos iteration with full reorthogonalisation: a symmetric operator, seen from a start vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Symmetric(Protocol):
    """A real symmetric operator on float64 vectors (size,)."""

    size: int

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        """The product, float64 (size,)."""
        ...


@dataclass(frozen=True)
class Ritz:
    """What k steps of the iteration see of the spectrum.

    Attributes:
        values: (k,) rising, approximations of eigenvalues.
        weights: (k,), the squared overlap of the start vector with each: Gauss quadrature of its spectral measure.
        basis: (size, k) orthonormal.
        coefficients: (k, k); `basis @ coefficients` are the Ritz vectors.
    """

    values: np.ndarray
    weights: np.ndarray
    basis: np.ndarray
    coefficients: np.ndarray

    def vector(self, index: int) -> np.ndarray:
        """The Ritz vector of `values[index]`, (size,), of unit norm."""
        found: np.ndarray = self.basis @ self.coefficients[:, index]
        return found


def lanczos(operator: Symmetric, start: np.ndarray, steps: int) -> Ritz:
    """Run `steps` steps, or fewer where the Krylov space ends before.

    Memory: steps · size float64. Without reorthogonalisation copies of converged eigenvalues would appear.
    """
    steps = min(steps, operator.size)
    from scipy.linalg import (
        eigh_tridiagonal,
    )  # here: a tenth of every sweep's start, for the few that need it

    basis = np.empty((operator.size, steps), order="F")
    diagonal, off = np.empty(steps), np.empty(steps)
    vector, scale = start / np.linalg.norm(start), 0.0
    for k in range(steps):
        basis[:, k] = vector
        image = operator @ vector
        diagonal[k] = vector @ image
        for _ in range(2):  # once leaves rounding behind, twice is enough
            image -= basis[:, : k + 1] @ (basis[:, : k + 1].T @ image)
        off[k] = np.linalg.norm(image)
        scale = max(scale, abs(diagonal[k]), off[k])
        if off[k] <= 1e-14 * scale or scale == 0.0:
            steps = k + 1
            break
        vector = image / off[k]
    values, coefficients = eigh_tridiagonal(diagonal[:steps], off[: steps - 1])
    return Ritz(values, coefficients[0] ** 2, basis[:, :steps], coefficients)


def matrix(operator: Symmetric) -> np.ndarray:
    """The whole matrix, (size, size), by as many products: for small spaces. Symmetrised."""
    dense = np.stack([operator @ unit for unit in np.eye(operator.size)], axis=1)
    symmetric: np.ndarray = (dense + dense.T) / 2
    return symmetric
