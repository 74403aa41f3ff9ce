"""Eigensolver for symmetric operators: the Lanczos iteration, and eigenpairs at the ends of the spectrum.

Eigenpairs come from restarted Lanczos (ARPACK through scipy); `lanczos` itself, with full reorthogonalisation, gives
their scale and the quadrature nodes of the spectral density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Symmetric(Protocol):
    """A real symmetric operator on float64 vectors (size,)."""

    size: int

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        """The product, float64 (size,)."""
        ...


@dataclass(frozen=True)
class Ritz:
    """Ritz values and vectors of k steps of the iteration.

    Attributes:
        values: (k,), approximations of eigenvalues in increasing order.
        weights: (k,), the squared overlap of the start vector with each Ritz vector: Gauss quadrature of its spectral
            measure.
        basis: (size, k), orthonormal.
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
    """Run `steps` steps, or fewer if the Krylov space ends before.

    Memory: steps · size float64. Without reorthogonalisation, copies of converged eigenvalues would appear.
    """
    steps = min(steps, operator.size)
    from scipy.linalg import (
        eigh_tridiagonal,
    )  # a tenth of the start-up time, for few sweeps

    basis = np.empty((operator.size, steps), order="F")
    diagonal, off = np.empty(steps), np.empty(steps)
    vector, scale = start / np.linalg.norm(start), 0.0
    for k in range(steps):
        basis[:, k] = vector
        image = operator @ vector
        diagonal[k] = vector @ image
        for _ in range(2):  # once leaves rounding errors, twice is enough
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
    """The whole matrix, (size, size), symmetrised, from `size` products; for small spaces."""
    dense = np.stack([operator @ unit for unit in np.eye(operator.size)], axis=1)
    symmetric: np.ndarray = (dense + dense.T) / 2
    return symmetric


DENSE = 32  # up to this size, the whole matrix needs no more products than an iteration
BASIS = 24  # Lanczos vectors that ARPACK keeps: 8 bytes · size each; more of them need fewer products
_LOOSEST = 0.3


@dataclass(frozen=True)
class Eigenpairs:
    """Approximate eigenpairs, with values in decreasing order.

    Attributes:
        values: (k,), the eigenvalues.
        vectors: (size, k), of unit norm, with the element of largest magnitude positive.
        residuals: (k,), ‖Hv − λv‖.
        products: total number of products with the operator.
        converged: whether all residuals are within the tolerance.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int
    converged: bool


@dataclass(frozen=True)
class SolverSettings:
    """Settings of the eigensolver.

    Attributes:
        tolerance: required residual, approximately, relative to the largest |λ|.
        products: approximate number of products before the tolerance is loosened, at most twice.
        seed: seed of the start vector.
    """

    tolerance: float = 1e-3
    products: int = 400
    seed: int = 0


def extremes(operator: Symmetric, effort: SolverSettings = SolverSettings()) -> Eigenpairs:
    """The largest and the smallest eigenvalue, in that order, from one Lanczos iteration.

    If the iteration does not converge, the best values so far are returned, with their residuals.
    """
    return _refined(operator, effort, 2, "BE", [0, -1])


def largest(operator: Symmetric, count: int, effort: SolverSettings = SolverSettings()) -> Eigenpairs:
    """The `count` largest eigenvalues (algebraically)."""
    return _refined(operator, effort, count, "LA", list(range(count)))


def smallest(operator: Symmetric, count: int, effort: SolverSettings = SolverSettings()) -> Eigenpairs:
    """The `count` smallest eigenvalues (algebraically), the smallest last."""
    return _refined(operator, effort, count, "SA", list(range(-count, 0)))


class _Counted:
    def __init__(self, operator: Symmetric) -> None:
        self._operator, self.size, self.products = operator, operator.size, 0

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        self.products += 1
        return self._operator @ vector


def _refined(
    operator: Symmetric, effort: SolverSettings, count: int, which: str, places: list[int]
) -> Eigenpairs:
    counted = _Counted(operator)
    if operator.size <= max(DENSE, count + 2):
        dense, converged = matrix(counted), True
        span = np.linalg.eigh(dense)[1]
        images = dense @ span
    else:
        span, converged = _iterate(counted, effort, count, which)
        images = np.stack([counted @ column for column in span.T], axis=1)
    values, coefficients = np.linalg.eigh((span.T @ images + images.T @ span) / 2)
    falling = np.arange(len(values))[::-1]
    chosen = falling[[place for place in places if -len(values) <= place < len(values)]]
    vectors = span @ coefficients[:, chosen]
    residuals = np.linalg.norm(images @ coefficients[:, chosen] - vectors * values[chosen], axis=0)
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(chosen))])
    return Eigenpairs(values[chosen], vectors * signs, residuals, counted.products, converged)


def _iterate(operator: _Counted, effort: SolverSettings, count: int, which: str) -> tuple[np.ndarray, bool]:
    """An orthonormal basis, (size, ≥ count), of the vectors found, and whether all of them converged."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh  # slow to import

    start = np.random.default_rng(effort.seed).standard_normal(operator.size)
    first = lanczos(operator, start, max(6, count))
    scale = float(np.abs(first.values).max())
    if scale == 0.0:  # the operator is zero up to rounding
        return first.basis, True
    # ARPACK's tolerance is relative to each eigenvalue. Shifted by twice the scale, all eigenvalues are of the order of
    # the scale; otherwise a smallest eigenvalue near zero would never count as converged.
    shift = 2 * scale
    shifted = LinearOperator(
        (operator.size,) * 2, matvec=lambda v: operator @ v.ravel() + shift * v.ravel(), dtype=np.float64
    )
    kept = min(operator.size, max(BASIS, 2 * count + 4))
    settings: dict[str, Any] = {
        "k": count,
        "which": which,
        "v0": start,
        "ncv": kept,
        "maxiter": max(1, -(-effort.products // (kept - count))),
    }
    found: list[np.ndarray] = []
    # scipy returns only the converged pairs; a looser tolerance gives the rest.
    for tolerance in np.geomspace(effort.tolerance / 3, _LOOSEST, 3):
        # In an invariant subspace ARPACK draws a new start vector; this keeps it reproducible.
        rng = np.random.default_rng(effort.seed)
        try:
            found.append(eigsh(shifted, tol=tolerance, rng=rng, **settings)[1])
            break
        except ArpackNoConvergence as failure:
            found.append(failure.eigenvectors)
    if len(found) == 1:
        return np.linalg.qr(found[0])[0], True
    return _span(np.column_stack([*found, first.basis @ first.coefficients[:, [0, -1]]])), False


def _span(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the span of vectors, some of which may be nearly equal."""
    left, singular, _ = np.linalg.svd(vectors, full_matrices=False)
    basis: np.ndarray = left[:, singular > 1e-6 * singular[0]]
    return basis
