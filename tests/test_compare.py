"""Numbers of a surface, against surfaces whose minima are known."""

from __future__ import annotations

import numpy as np
import pytest

from lsweep.compare import local_minima, share_below
from lsweep.surface import Status, Surface


def _surface(loss: np.ndarray, status: np.ndarray | None = None) -> Surface:
    status = np.ones(loss.shape, dtype=np.uint8) if status is None else status
    axes = {name: np.arange(n, dtype=float) for name, n in zip("xy", reversed(loss.shape), strict=False)}
    return Surface(axes, {"loss": loss}, status, loss.astype(np.float32), status.astype(np.int32))


def test_bowl_has_one_minimum():
    x, y = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 15))
    found = local_minima(x**2 + y**2)
    assert len(found) == 1
    assert found[0].index == (7, 10)
    assert found[0].depth == np.inf


def test_depth_is_the_climb_to_a_lower_minimum():
    line = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 0.0, 9.0])
    assert [(m.index[0], m.depth) for m in local_minima(line)] == [(5, np.inf), (1, 3.0), (3, 1.0)]
    assert len(local_minima(line, depth=1.0)) == 2  # strictly deeper


def test_diagonal_neighbours_touch():
    values = np.array([[0.0, 9.0], [9.0, 1.0]])
    assert len(local_minima(values)) == 1


def test_egg_box_in_three_dimensions():
    axis = np.cos(np.linspace(0, 4 * np.pi, 41))
    box = axis[:, None, None] + axis[None, :, None] + axis[None, None, :]
    assert len(local_minima(box, depth=0.5)) == 8


def test_nan_is_a_wall_and_plateaus_count_once():
    assert len(local_minima(np.array([1.0, np.nan, 2.0]))) == 2
    assert len(local_minima(np.zeros((4, 5)))) == 1


@pytest.mark.parametrize(("level", "share"), [(1.0, 0.25), (3.5, 0.75), (-1.0, 0.0)])
def test_share_counts_nan_but_not_pending(level: float, share: float):
    loss = np.array([[0.5, 2.0, 3.0], [np.nan, np.nan, 0.0]])
    status = np.array([[1, 1, 1], [1, 0, 0]], dtype=np.uint8)
    assert share_below(_surface(loss, status), level) == share


def test_share_of_nothing_is_nan():
    loss = np.full((2, 2), np.nan)
    assert np.isnan(share_below(_surface(loss, np.zeros((2, 2), dtype=np.uint8)), 1.0))


def test_settled_points_count_as_interpolated():
    x, y = np.meshgrid(np.linspace(-1, 1, 33), np.linspace(-1, 1, 33))
    truth = np.exp(x**2 + y)
    status = np.full(truth.shape, Status.SETTLED, dtype=np.uint8)
    status[::2, ::2] = Status.DONE
    refined = _surface(np.where(status == Status.DONE, truth, np.nan), status)
    assert share_below(refined, 1.0) == share_below(_surface(truth), 1.0)
    assert share_below(refined, 1.0) != float((truth[::2, ::2] < 1.0).mean())
