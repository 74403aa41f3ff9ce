"""Trace and spectral density of a symmetric operator from products with random vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsweep.evaluate.curvature.eigensolver import Symmetric, lanczos


@dataclass(frozen=True)
class Trace:
    """Estimate of a trace, with its standard error over the probes, and the number of products used."""

    value: float
    stderr: float
    products: int


@dataclass(frozen=True)
class Density:
    """A spectral measure as weighted points: the Gauss quadratures of all probes.

    Attributes:
        nodes: (probes · steps,), eigenvalues.
        weights: same shape; their sum is 1.
        products: number of products with the operator.
    """

    nodes: np.ndarray
    weights: np.ndarray
    products: int

    def moment(self, power: int) -> float:
        """The mean of λ^power over the spectrum: power 1 gives the trace divided by the size."""
        return float(self.weights @ self.nodes**power)

    def cumulative(self, at: np.ndarray) -> np.ndarray:
        """The share of eigenvalues ≤ each of (k,) values."""
        found: np.ndarray = (self.nodes[None, :] <= at[:, None]) @ self.weights
        return found


def trace(operator: Symmetric, products: int = 60, seed: int = 0) -> Trace:
    """Hutch++ (Meyer, Musco, Musco, Woodruff 2021): exact trace of a sketch, Hutchinson's estimator for the rest.

    One third of the products each builds a sketch of the range, computes its trace, and probes the rest. If the space
    is not larger than the sketch, the trace is exact.
    """
    rng = np.random.default_rng(seed)
    third = max(2, products // 3)
    sketch = _signs(rng, operator.size, min(third, operator.size))
    basis = np.linalg.qr(_images(operator, sketch))[0]
    known = float(np.einsum("ij,ij->", basis, _images(operator, basis)))
    if operator.size <= third:
        return Trace(known, 0.0, 2 * operator.size)
    probes = _signs(rng, operator.size, third)
    rest = probes - basis @ (basis.T @ probes)
    samples = np.einsum("ij,ij->j", rest, _images(operator, rest))
    return Trace(known + float(samples.mean()), float(samples.std(ddof=1) / np.sqrt(third)), 3 * third)


def density(operator: Symmetric, probes: int = 10, steps: int = 80, seed: int = 0) -> Density:
    """Stochastic Lanczos quadrature (Golub & Meurant; Ubaru, Chen & Saad 2017; Ghorbani et al. 2019)."""
    rng = np.random.default_rng(seed)
    nodes, weights, products = [], [], 0
    for _ in range(probes):
        seen = lanczos(operator, _signs(rng, operator.size, 1)[:, 0], steps)
        nodes.append(seen.values)
        weights.append(seen.weights / probes)
        products += len(seen.values)
    return Density(np.concatenate(nodes), np.concatenate(weights), products)


def _signs(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Vectors of ±1 (Rademacher), (size, count)."""
    return rng.choice([-1.0, 1.0], size=(size, count))


def _images(operator: Symmetric, vectors: np.ndarray) -> np.ndarray:
    return np.stack([operator @ column for column in vectors.T], axis=1)
