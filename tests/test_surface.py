"""A result as it travels."""

from __future__ import annotations

import numpy as np
import pytest

from lsweep.surface import Status, Surface


def plane() -> Surface:
    status = np.array([[1, 0, 2], [3, 1, 1]], dtype=np.uint8)
    return Surface(
        {"x": np.array([0.0, 1.0, 2.0]), "y": np.array([-1.0, 1.0])},
        {"loss": np.arange(6.0).reshape(2, 3), "accuracy": np.full((2, 3), np.nan)},
        status,
        np.zeros((2, 3), np.float32),
        np.zeros((2, 3), np.int32),
    )


def test_a_plane() -> None:
    surface = plane()
    assert surface.shape == (2, 3) and surface.ndim == 2 and not surface.complete
    assert [surface.count(s) for s in Status] == [1, 3, 1, 1]
    assert surface.done.tolist() == [[True, False, False], [False, True, True]]
    assert surface.loss[1, 2] == 5 and surface.y[1] == 1 and surface.x[2] == 2
    assert repr(surface) == "<Surface x ∈ [0, 2] × 3, y ∈ [-1, 1] × 2; 3/6 done, 1 settled; loss, accuracy>"


def test_no_third_axis() -> None:
    with pytest.raises(KeyError):
        _ = plane().z


def refined(status: Status = Status.SETTLED) -> tuple[Surface, np.ndarray]:
    """A line of 65 points of exp(x²), every second one evaluated; and all of it."""
    x = np.linspace(-1, 1, 65)
    truth = np.exp(x**2)
    state = np.full(65, status, dtype=np.uint8)
    state[::2] = Status.DONE
    loss = np.where(state == Status.DONE, truth, np.nan)
    metrics = {"loss": loss, "accuracy": np.where(state == Status.DONE, np.tanh(4 * x) / 2 + 0.5, np.nan)}
    return Surface({"x": x}, metrics, state, np.zeros(65, np.float32), np.zeros(65, np.int32)), truth


def test_settled_points_are_interpolated_on_request() -> None:
    surface, truth = refined()
    assert surface.settled.sum() == 32 and np.isnan(surface.loss[surface.settled]).all()
    np.testing.assert_allclose(surface.filled(), truth, rtol=1e-12)  # x² is no more than a cubic
    np.testing.assert_array_equal(surface.filled()[surface.done], truth[surface.done])
    accuracy = surface.filled("accuracy")
    assert np.abs(accuracy - (np.tanh(4 * surface.x) / 2 + 0.5)).max() < 0.01
    assert accuracy.min() >= 0 and accuracy.max() <= 1


def test_pending_points_are_not() -> None:
    surface, _ = refined(Status.PENDING)
    assert surface.filled() is surface.loss
