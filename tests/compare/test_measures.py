"""Numbers of a surface, against surfaces for which they are known."""

from __future__ import annotations

import random
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from fuzzing import figures
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import ROOT

from lsweep.compare import (
    area_below,
    convex_share,
    excess_variation,
    local_minima,
    second_difference,
    share_below,
)
from lsweep.compare.measures import Settings, catalogue, measure
from lsweep.compare.plane import plane_of
from lsweep.compare.sweeps import Sweep
from lsweep.errors import InputError
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


@pytest.mark.slow
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


X, Y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-0.5, 0.5, 21))
STEPS = (0.05, 0.05)
ALL = np.ones(X.shape, dtype=bool)


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(-5, 5), st.sampled_from([0, 1]))
def test_second_difference_of_a_parabola_is_its_curvature(slope, curvature, height, axis):
    values = height + slope * X + 0.5 * curvature * (X**2, Y**2)[1 - axis] + slope * Y
    assert second_difference(values, (10, 20), axis, 0.05) == pytest.approx(curvature, rel=1e-6)


def test_second_difference_is_the_mean_of_the_second_derivative_that_is_documented():
    t = np.linspace(-0.25, 0.25, 20001)
    weights = (1 - np.abs(t) / 0.25) / 0.25
    mean = np.trapezoid(np.exp(t) * weights, t)
    assert second_difference(np.exp(np.array([-0.25, 0.0, 0.25])), (1,), 0, 0.25) == pytest.approx(
        mean, rel=1e-7
    )


def test_second_difference_needs_three_finite_points():
    values = np.array([1.0, 0.0, 1.0, np.nan])
    assert [second_difference(values, (k,), 0, 1.0) for k in (0, 2, 3)] == pytest.approx(
        [np.nan] * 3, nan_ok=True
    )


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 4), st.floats(0.1, 4), st.floats(-6, 6))
def test_quadratic_is_convex_everywhere_or_nowhere(a, b, c):
    if abs(a * b - c**2) > 1e-3:
        values = 0.5 * (a * X**2 + b * Y**2) + c * X * Y + 3 * X
        assert convex_share(values, STEPS) == float(a * b > c**2)
        assert convex_share(-values, STEPS) == 0.0


def test_convex_share_of_a_gaussian_dip():
    """−exp(−r²/2) has the eigenvalues (1 − r²)·e and e: it is convex for r < 1."""
    x, y = np.meshgrid(np.linspace(-2, 2, 201), np.linspace(-2, 2, 101))
    share = convex_share(-np.exp(-(x**2 + y**2) / 2), (0.02, 0.04))
    assert share == pytest.approx(np.pi / 16, abs=0.01)


def test_convex_share_leaves_out_what_touches_no_number():
    values = X**2 + Y**2
    values[10, 10] = np.nan
    values[0, 0] = np.inf
    assert convex_share(values, STEPS) == 1.0
    assert np.isnan(convex_share(values[:2], STEPS))


def test_convex_share_of_a_line():
    assert convex_share(np.array([1.0, 0.0, 1.0, 1.5, 1.0]), [1.0]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("level", [0.05, 0.2, 0.24])
def test_area_below_in_a_bowl_is_a_circle(level):
    assert area_below(X**2 + Y**2, ALL, level) == pytest.approx(np.pi * level / 2, rel=0.02)


@settings(max_examples=50, deadline=None)
@given(*(st.floats(-end, end).map(lambda value: round(value, 6)) for end in (2, 3, 3)))
def test_area_below_is_exact_for_planes(level, a, b):
    values = a * X + b * Y
    x, y = (np.arange(400)[None, :] + 0.5) / 200 - 1, (np.arange(200)[:, None] + 0.5) / 200 - 0.5
    assert area_below(values, ALL, level) == pytest.approx((a * x + b * y < level).mean(), abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-3, 3))
def test_area_below_and_above_are_all(level, tilt, bend):
    values = np.sin(7 * X + tilt) * np.cos(5 * Y) + bend * X * Y
    assert area_below(values, ALL, level) + area_below(-values, ALL, -level) == pytest.approx(1.0)


def test_area_below_of_a_line():
    assert area_below(np.array([0.0, 1.0, 3.0]), np.ones(3, bool), 2.0) == pytest.approx(0.75)
    assert area_below(np.zeros(3), np.ones(3, bool), 0.0) == 0.0


def test_area_below_with_holes():
    values, known = np.zeros((3, 5)), np.ones((3, 5), bool)
    values[0, 0] = np.inf  # a result: its cell is above; the cells of the last column are not known
    known[:, 4] = False
    assert area_below(values, known, 1.0) == pytest.approx(5 / 6)
    assert np.isnan(area_below(values, np.zeros((3, 5), bool), 1.0))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 50), st.floats(0.1, 50), st.floats(-0.9, 0.9), st.floats(-0.4, 0.4))
def test_a_valley_is_not_rough_however_steep(a, b, x, y):
    bowl = a * np.abs(X - x) ** 3 + b * (Y - y) ** 2
    assert excess_variation(bowl) == 0.0
    assert excess_variation(np.sqrt(bowl)) == 0.0


def test_roughness_of_planted_ripples():
    """|x| falls and rises by 1; on each of 8 steps a tooth goes up and down by 0.25: 4 more beside 2."""
    line = np.array([8, 10, 6, 8, 4, 6, 2, 4, 0, 4, 2, 6, 4, 8, 6, 10, 8]) / 8
    assert excess_variation(line) == pytest.approx(4 / 2)
    assert excess_variation(np.array([0.0, 1.0, 0.0])) == np.inf
    assert excess_variation(np.zeros(3)) == 0.0
    assert np.isnan(excess_variation(np.array([np.nan, 1.0])))


def test_roughness_passes_over_holes_and_grows_with_the_ripple():
    found = [excess_variation(X**2 + Y**2 + height * np.sin(40 * X)) for height in (0.0, 0.02, 0.1, 0.5)]
    assert found == sorted(found) and found[0] == 0.0 and found[3] > 1.0
    assert excess_variation(np.array([2.0, np.nan, 1.0, np.inf, 3.0])) == 0.0


PLACES = {"train": "SPLIT", "test": "SPLIT", "x": "AXIS", "y": "AXIS", "1": "LEVEL"}


def _sweep(loss: np.ndarray, status: np.ndarray | None = None, **metrics: np.ndarray) -> Sweep:
    plain = _surface(loss, status)
    axes = {n: np.linspace(-1, 1, m) for n, m in zip("xy", reversed(loss.shape), strict=False)}
    surface = Surface(axes, {**plain.metrics, **metrics}, plain.status, plain.seconds, plain.rank)
    return Sweep(Path("a.h5"), surface, {"data": {"train": "", **({"test": ""} if metrics else {})}}, {})


def test_every_number_of_a_double_well():
    """Two wells in y at ±0.5, the deeper one at −0.5, over ln(loss) = 4 x² + the wells."""
    x, y = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 41))
    log = 4 * x**2 + 16 * (y**2 - 0.25) ** 2 + 0.2 * y
    accuracy = np.full(x.shape, 0.75)
    loss = np.exp(log)
    found = measure(
        _sweep(loss, accuracy=accuracy, loss_test=2 * loss, accuracy_test=accuracy - 0.25),
        Settings(depth=0.5, levels=(1.5,)),
    )
    assert found["loss_train"] == pytest.approx(np.e) and found["loss_test"] == pytest.approx(2 * np.e)
    assert found["error_train"] == 0.25 and found["error_test"] == 0.5
    assert found["log_curvature_x"] == pytest.approx(8.0)
    assert found["log_curvature_y"] == pytest.approx(-16.0, rel=0.01)
    assert found["curvature_x"] == pytest.approx(8 * np.e, rel=0.05)
    assert found["minima"] == 2
    assert found["second_depth"] == pytest.approx(log[20, 10] - log[30, 10], abs=0.01)
    assert found["below_1.5"] == pytest.approx(share_below(_surface(loss), 1.5), abs=0.02)
    assert found["largest"] == loss.max()
    assert found["decades"] == pytest.approx((log.max() - log.min()) / np.log(10))
    assert found["roughness"] > 0.01
    assert found["evaluated"] == 41 * 21 and found["nan"] == 0


def test_other_losses_are_measured_on_request():
    loss = np.array([2.0, 1.0, 2.0])
    two = _sweep(loss, loss_test=3 * loss)
    assert measure(two, Settings("loss_test"))["largest"] == 6.0
    with pytest.raises(InputError, match="no loss 'accuracy'"):
        measure(_sweep(loss, accuracy=loss), Settings("accuracy"))


def test_no_centre_no_numbers_of_it():
    found = measure(_sweep(np.arange(1.0, 5.0)), Settings())
    assert np.isnan([found[key] for key in ("loss_train", "curvature_x", "log_curvature_x")]).all()
    assert found["largest"] == 4.0


def test_failed_nan_and_infinite_points_are_counted():
    loss = np.array([np.nan, 3.0, np.inf, 0.5, 2.0])
    found = measure(_sweep(loss, np.array([1, 1, 1, 1, 2], np.uint8)), Settings())
    counts = [found[key] for key in ("evaluated", "settled", "unknown", "nan", "infinite")]
    assert counts == [4, 0, 1, 1, 1]
    assert found["largest"] == 3.0 and found["loss_train"] == np.inf


def test_settled_points_are_interpolated():
    loss = np.exp(np.linspace(-1, 1, 33) ** 2)
    status = np.full(33, Status.SETTLED, dtype=np.uint8)
    status[::2] = Status.DONE
    settled = measure(_sweep(np.where(status == Status.DONE, loss, np.nan), status), Settings())
    whole = measure(_sweep(loss), Settings())
    assert settled["settled"] == 16 and settled["curvature_x"] == pytest.approx(
        whole["curvature_x"], rel=0.01
    )
    assert settled["below_1"] == whole["below_1"]


def test_the_logarithm_of_zero_is_that_of_the_smallest_value():
    plane = plane_of(_sweep(np.array([4.0, 0.0, 2.0])).surface, "loss")
    assert plane.log == pytest.approx(np.log([4.0, 2.0, 2.0]))
    assert np.isnan(plane_of(_sweep(np.array([4.0, -1.0, 2.0])).surface, "loss").log).all()


def test_eigenvalue_ratios_are_summarised():
    ratio = np.linspace(0, 1, 11)
    found = measure(_sweep(np.ones(11), eig_ratio=ratio), Settings())
    assert [found[f"eig_ratio_{k}"] for k in ("centre", "median", "90")] == pytest.approx([0.5, 0.5, 0.9])


def test_boxes_and_uneven_axes_are_refused():
    with pytest.raises(InputError, match="is a box"):
        box = np.ones((2, 2, 2))
        axes = {name: np.array([0.0, 1.0]) for name in "xyz"}
        plane_of(Surface(axes, {"loss": box}, np.ones((2, 2, 2), np.uint8), box, box), "loss")
    with pytest.raises(InputError, match="the axis x is not equally spaced"):
        uneven = _surface(np.ones(3))
        plane_of(
            Surface(
                {"x": np.array([0.0, 1.0, 3.0])}, uneven.metrics, uneven.status, uneven.seconds, uneven.rank
            ),
            "loss",
        )


def test_axes_of_one_point_are_dropped():
    row = plane_of(_sweep(np.array([[3.0, 1.0, 2.0]])).surface, "loss")
    assert row.names == ("x",) and row.values.shape == (3,)
    assert row.centre is None  # y is −1 there
    point = _sweep(np.array([2.0]))
    single = Surface({"x": np.array([0.0])}, *list(vars(point.surface).values())[1:5])
    found = measure(Sweep(Path("a.h5"), single, {}, {}), Settings())
    assert found["loss_train"] == 2.0 and np.isnan(found["convex_share"]) and np.isnan(found["below_1"])


def test_every_number_is_defined_in_the_docs():
    text = (ROOT / "docs" / "compare.md").read_text()
    loss = np.ones((3, 3))
    sweep = _sweep(loss, loss_test=loss, eig_ratio=loss)
    for number in catalogue([sweep], Settings(levels=(1.0,))):
        general = re.sub(r"(?<=_)(train|test|x|y|1)$", lambda found: PLACES[found[0]], number.key)
        assert f"| `{general}` |" in text


def test_absurd_surfaces_give_numbers_or_one_line():
    measured = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(400):
            try:
                found = measure(
                    Sweep(Path("a.h5"), figures.surface(random.Random(number)), {}, {}), Settings()
                )
            except InputError:
                continue
            measured += 1
            assert all(isinstance(value, float) for value in found.values())
            shares = [found[key] for key in ("convex_share", "below_0.1", "below_10")]
            assert all(np.isnan(share) or 0 <= share <= 1 for share in shares)
    assert measured > 100
