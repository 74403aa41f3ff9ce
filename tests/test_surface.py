"""A result as it travels."""

from __future__ import annotations

import base64
import io
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lsweep.errors import InputError
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


# ---- what notebooks want of it ---------------------------------------------------------------------------------


def test_a_labelled_data_set_and_back() -> None:
    pytest.importorskip("xarray")
    surface = plane()
    data = surface.to_xarray()
    assert data.loss.dims == ("y", "x") and data.loss.sel(x=2.0, y=1.0) == 5.0
    assert data.status.attrs["flag_meanings"] == "pending done failed settled"
    assert data.x.attrs["units"] == "1" and data.attrs["Conventions"].startswith("CF-")
    back = Surface.from_xarray(data)
    np.testing.assert_array_equal(back.status, surface.status)
    np.testing.assert_array_equal(back.loss, np.where(surface.done, surface.loss, np.nan))


def test_a_data_set_of_ones_own() -> None:
    xarray = pytest.importorskip("xarray")
    values = np.arange(6.0).reshape(3, 2)  # x first
    data = xarray.Dataset(
        {"loss": (("x", "y"), values), "note": ("x", list("abc"))}, {"x": [0, 1, 2], "y": [0.0, 1]}
    )
    surface = Surface.from_xarray(data)
    np.testing.assert_array_equal(surface.loss, values.T)
    assert surface.done.all() and set(surface.metrics) == {"loss", "accuracy"}
    for damaged, complaint in (
        (data.drop_vars("loss"), "expected a variable 'loss'"),
        (data.drop_vars("y"), "dimension y has no coordinates"),
        (data.assign_coords(x=[0, 0, 1]), "finite and increasing"),
        (data.rename(x="a", y="b"), "expected the dimensions x"),
    ):
        with pytest.raises(InputError, match=complaint):
            Surface.from_xarray(damaged)


def test_a_data_frame_has_a_row_a_point() -> None:
    pytest.importorskip("pandas")
    frame = plane().to_dataframe()
    assert (
        list(frame.columns) == ["x", "y", "loss", "accuracy", "status", "seconds", "rank"] and len(frame) == 6
    )
    assert frame.x.tolist() == [0, 1, 2, 0, 1, 2] and frame.y.tolist() == [-1, -1, -1, 1, 1, 1]
    assert frame.loss.tolist() == list(range(6))
    assert frame.status.tolist() == ["done", "pending", "failed", "settled", "done", "done"]
    assert frame.pivot(index="y", columns="x", values="loss").loc[1.0, 2.0] == 5


def shown(surface: Surface) -> np.ndarray:
    """The picture in a surface's HTML, decoded by another library: (rows, columns, 4), its top row first."""
    image = pytest.importorskip("PIL.Image")
    content = re.search(r'src="data:image/png;base64,([^"]+)"', surface._repr_html_())
    assert content is not None
    return np.asarray(image.open(io.BytesIO(base64.b64decode(content[1]))).convert("RGBA"))


def test_a_notebook_shows_a_table_and_the_plane_the_right_way_up() -> None:
    surface = plane()
    html = surface._repr_html_()
    assert "x ∈ [0, 2] × 3, y ∈ [-1, 1] × 2" in html and "1 pending, 3 done, 1 failed, 1 settled" in html
    surface = replace(
        surface,
        metrics={"loss": np.where(surface.done, surface.loss, np.nan)},
        status=np.ones((2, 3), np.uint8),
    )
    pixels = shown(surface)
    assert pixels.shape == (2, 3, 4)
    # y = 1 on top, where x = 2 has the highest loss; the lowest is at the bottom left.
    assert pixels[0, 2, :3].tolist() == [253, 231, 36] and pixels[1, 0, :3].tolist() == [68, 1, 84]
    assert (pixels[..., 3] == 0).tolist() == [[True, False, False], [False, True, True]]


@pytest.mark.parametrize("shape", [(1,), (40,), (1, 1), (3, 700), (2, 3, 4)])
@pytest.mark.parametrize("fill", [np.nan, np.inf, 0.0, 1e300, -1.0])
def test_odd_surfaces_have_a_picture(shape, fill) -> None:
    axes = {
        name: np.linspace(0, 1, n) if n > 1 else np.zeros(1)
        for name, n in zip("xyz", reversed(shape), strict=False)
    }
    loss = np.full(shape, fill)
    loss.flat[0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = shown(Surface(axes, {"loss": loss}, np.ones(shape, np.uint8), loss, loss))
    assert pixels.shape[1] <= 256


def test_a_notebook_shows_no_markup_of_a_file() -> None:
    surface = replace(
        plane(), metrics={"loss": np.zeros((2, 3)), "<b>": np.zeros((2, 3))}, path=Path("<script>\x1b.h5")
    )
    html = surface._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;\\x1b.h5" in html and "&lt;b&gt;" in html


def test_plot_draws_into_the_given_axes() -> None:
    from matplotlib.figure import Figure

    surface = replace(
        plane(), metrics={"loss": np.arange(1.0, 7).reshape(2, 3)}, status=np.ones((2, 3), np.uint8)
    )
    for kind in ("contour", "filled", "heatmap", "line"):
        ax = Figure().subplots()
        assert surface.plot(kind, ax=ax) is ax
    assert surface.plot().name == "rectilinear" and surface.plot("surface").name == "3d"
    with pytest.raises(InputError, match="did you mean 'contour'"):
        surface.plot("contuor")
    line, _ = refined()
    assert line.plot().get_lines()
