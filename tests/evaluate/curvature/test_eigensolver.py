"""Eigenvalues, trace and density of operators whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest

from lsweep.evaluate.curvature.eigensolver import SolverSettings, extremes, lanczos, largest, matrix, smallest
from lsweep.evaluate.curvature.spectrum import density, trace
from lsweep.render.spectrum import smoothed


class Dense:
    """A symmetric matrix of a given spectrum in a random basis; counts what it is asked."""

    def __init__(self, spectrum: np.ndarray, seed: int = 1) -> None:
        self.size, self.asked = len(spectrum), 0
        self.basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((self.size,) * 2))[0]
        self.matrix = self.basis * spectrum @ self.basis.T

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        self.asked += 1
        found: np.ndarray = self.matrix @ vector
        return found


def bulk(size: int = 300) -> np.ndarray:
    """As of a trained network: a few outliers, a bulk about zero that reaches a little below."""
    return np.sort(np.concatenate([[9.0, 4.0, 2.5], np.random.default_rng(0).normal(0, 0.05, size - 3)]))


SPECTRA = {
    "outliers": bulk(),
    "indefinite": np.linspace(-1.0, 2.0, 200),
    "negative": np.linspace(-3.0, -1.0, 100),
    "positive": np.linspace(1e-9, 1.0, 100) ** 3,
    "low rank": np.concatenate([np.zeros(150), [1.0, 2.0, 3.0]]),
    "tiny": np.array([-1.0, 0.5, 2.0]),
    "one": np.array([0.7]),
    "large numbers": 1e8 * bulk(),
    "small numbers": 1e-8 * bulk(),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_both_ends(name: str) -> None:
    spectrum = SPECTRA[name]
    operator = Dense(spectrum)
    found = extremes(operator, SolverSettings())
    scale = np.abs(spectrum).max()
    assert found.converged
    assert found.products == operator.asked
    ends = [spectrum[-1], spectrum[0]] if len(spectrum) > 1 else [spectrum[0]] * 2
    np.testing.assert_allclose(found.values[[0, -1]], ends, atol=1e-4 * scale)
    assert (found.residuals <= 3e-3 * scale).all()
    images = operator.matrix @ found.vectors
    np.testing.assert_allclose(
        np.linalg.norm(images - found.vectors * found.values, axis=0), found.residuals, atol=1e-12 * scale
    )
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=0), 1.0, rtol=1e-12)


def test_the_zero_operator() -> None:
    found = extremes(Dense(np.zeros(100)))
    assert not found.values.any() and not found.residuals.any() and found.converged


def test_a_tighter_tolerance_takes_more_products_and_gives_more_digits() -> None:
    spectrum = bulk()
    loose, tight = (extremes(Dense(spectrum), SolverSettings(tolerance)) for tolerance in (3e-2, 1e-8))
    assert tight.products > loose.products
    np.testing.assert_allclose(tight.values, spectrum[[-1, 0]], rtol=1e-9)
    assert tight.residuals.max() < 1e-7 < loose.residuals.max()


def test_what_does_not_converge_gives_its_best_with_the_residual() -> None:
    """A spectrum without gaps and almost no products: values inside the spectrum, errors below the residuals."""
    spectrum = np.linspace(-1.0, 1.0, 3000)
    operator = Dense(spectrum[::4])
    found = extremes(operator, SolverSettings(1e-9, 30))
    assert not found.converged
    assert found.products == operator.asked < 200
    errors = np.abs(found.values - [spectrum[-4], spectrum[0]])
    assert (errors <= found.residuals).all()
    assert (found.residuals > 1e-9).all() and (errors < 0.1).all()


def test_the_same_bits_every_time_and_no_state_between_calls() -> None:
    first = extremes(Dense(SPECTRA["low rank"]), SolverSettings(1e-6, seed=3))
    extremes(Dense(bulk()), SolverSettings(1e-6))
    again = extremes(Dense(SPECTRA["low rank"]), SolverSettings(1e-6, seed=3))
    assert first.values.tobytes() == again.values.tobytes()
    assert first.vectors.tobytes() == again.vectors.tobytes()


def test_the_largest_and_the_smallest_few() -> None:
    spectrum = bulk()
    operator = Dense(spectrum)
    top = largest(operator, 3, SolverSettings(1e-6))
    np.testing.assert_allclose(top.values, [9.0, 4.0, 2.5], rtol=1e-6)
    overlap = np.abs(np.diag(operator.basis[:, :-4:-1].T @ top.vectors))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-6)
    assert all(column[np.abs(column).argmax()] > 0 for column in top.vectors.T)
    low = smallest(operator, 2, SolverSettings(1e-8))
    np.testing.assert_allclose(low.values, spectrum[[1, 0]], rtol=1e-6)
    assert len(largest(Dense(np.arange(5.0)), 4).values) == 4


def test_lanczos_is_gauss_quadrature() -> None:
    """k steps integrate polynomials up to degree 2k − 1 exactly; the basis is orthonormal."""
    spectrum = bulk()
    operator = Dense(spectrum)
    start = np.random.default_rng(5).standard_normal(operator.size)
    seen = lanczos(operator, start, 6)
    np.testing.assert_allclose(seen.basis.T @ seen.basis, np.eye(6), atol=1e-12)
    weights = (operator.basis.T @ start) ** 2 / (start @ start)
    for power in range(12):
        assert seen.weights @ seen.values**power == pytest.approx(weights @ spectrum**power, rel=1e-9)
    assert (
        len(lanczos(Dense(SPECTRA["low rank"]), np.random.default_rng(0).standard_normal(153), 50).values)
        == 4
    )


def test_the_matrix_of_products() -> None:
    operator = Dense(bulk(40))
    np.testing.assert_allclose(matrix(operator), operator.matrix, atol=1e-14)


@pytest.mark.parametrize("name", ["outliers", "indefinite", "low rank"])
def test_trace(name: str) -> None:
    spectrum = SPECTRA[name]
    operator = Dense(spectrum)
    found = trace(operator, products=60)
    assert found.products == operator.asked == 60
    assert abs(found.value - spectrum.sum()) <= 4 * found.stderr + 1e-9 * np.abs(spectrum).sum()
    assert found.stderr < 0.1 * np.abs(spectrum).sum()


def test_a_small_trace_is_exact() -> None:
    found = trace(Dense(np.array([3.0, -1.0, 0.5, 2.0])), products=30)
    assert (found.value, found.stderr) == (pytest.approx(4.5), 0.0)


def test_hutchpp_is_exact_up_to_the_sketch_for_low_rank() -> None:
    found = trace(Dense(SPECTRA["low rank"]), products=30)
    assert found.value == pytest.approx(6.0, rel=1e-10)


@pytest.mark.parametrize("name", ["outliers", "indefinite"])
def test_density(name: str) -> None:
    """Cumulative density and moments against the spectrum itself; outliers get their share of 1/size."""
    spectrum = SPECTRA[name]
    found = density(Dense(spectrum), probes=30, steps=40)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.products == 30 * 40
    # A probe's share of n eigenvalues varies by about √(2·share/n): three standard errors, and a node's width.
    at = np.quantile(spectrum, [0.1, 0.3, 0.5, 0.7, 0.9])
    truth = (spectrum[None, :] <= at[:, None]).mean(axis=1)
    error = 3 * np.sqrt(2 / len(spectrum) / 30) + 1 / 40
    np.testing.assert_allclose(found.cumulative(at), truth, atol=error)
    spread = np.sqrt(2 * (spectrum**4).sum() / 30) / len(spectrum)
    assert abs(found.moment(2) - (spectrum**2).mean()) < 3 * spread
    lo, hi = spectrum[0] - 1, spectrum[-1] + 1
    grid = np.linspace(lo, hi, 2000)
    smooth = smoothed(grid, found.nodes, found.weights, 0.1)
    assert (smooth >= 0).all()
    assert np.trapezoid(smooth, grid) == pytest.approx(1.0, abs=1e-6)
