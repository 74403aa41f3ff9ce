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
