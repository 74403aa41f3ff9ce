"""Figures against the numbers they were drawn from."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from lsweep import cli, render
from lsweep.errors import InputError
from lsweep.grid import Axis, Grid
from lsweep.render.cli import output_path, parse_levels
from lsweep.render.field import extract
from lsweep.render.figure import figure_size
from lsweep.render.isolines import pieces
from lsweep.render.levels import plain, round_levels, shared_levels
from lsweep.render.look import Look
from lsweep.render.panels import draw_panels
from lsweep.render.scale import choose
from lsweep.render.styles import styled
from lsweep.surface import Status, Surface, Trajectory

CONFIG = '[model]\nsource = "resnet56"\n[data]\nsplit = ["train", "test"]\n'
X, Y = np.linspace(-1.0, 1.0, 9), np.linspace(-0.5, 1.0, 7)  # non-square, so that a transposition shows
LOSS = 0.1 + (X[None, :] - 0.3) ** 2 + np.exp(Y[:, None])


def make(axes, loss, status=None, config=CONFIG, path=None, **more) -> Surface:
    loss = np.asarray(loss, dtype=np.float64)
    status = np.ones(loss.shape, np.uint8) if status is None else np.asarray(status, np.uint8)
    metrics = {"loss": loss, "accuracy": np.full(loss.shape, np.nan)} | more
    metrics = {name: np.where(status == Status.DONE, values, np.nan) for name, values in metrics.items()}
    seconds, rank = np.zeros(loss.shape, np.float32), np.zeros(loss.shape, np.int32)
    return Surface(dict(zip("xyz", axes, strict=False)), metrics, status, seconds, rank, config, path=path)


def bowl(n=41, **more) -> Surface:
    axis = np.linspace(-1.0, 1.0, n)
    square = axis[None, :] ** 2 + axis[:, None] ** 2
    return make((axis, axis), 0.05 + 5 * square, accuracy=1 / (1 + square), **more)


@pytest.fixture
def plane() -> Surface:
    return make((X, Y), LOSS, accuracy=1 / (1 + LOSS))


@pytest.fixture(autouse=True)
def strict():
    """A figure that warns would fill a user's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def contours(ax) -> ContourSet:
    return next(c for c in ax.collections if isinstance(c, ContourSet))


def lines(ax) -> list[list[np.ndarray]]:
    return pieces(contours(ax))


def test_heatmap_cells_surround_their_points(plane):
    mesh = render.heatmap(plane, log=False).collections[0]
    np.testing.assert_array_equal(mesh.get_array().reshape(LOSS.shape), LOSS)
    corners = mesh.get_coordinates()  # (ny + 1, nx + 1, 2)
    centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    np.testing.assert_allclose(centres[0, :, 0], X, atol=1e-15)
    np.testing.assert_allclose(centres[:, 0, 1], Y, atol=1e-15)


def test_heatmap_leaves_pending_blank_and_marks_nan():
    loss, status = LOSS.copy(), np.ones(LOSS.shape)
    loss[2, 3], status[4, 5], status[0, 0] = np.nan, Status.PENDING, Status.FAILED
    ax = render.heatmap(make((X, Y), loss, status))
    mask = np.ma.getmaskarray(ax.collections[0].get_array()).reshape(LOSS.shape)
    assert {tuple(p) for p in np.argwhere(mask)} == {(2, 3), (4, 5), (0, 0)}
    grey = ~np.ma.getmaskarray(ax.collections[1].get_array()).reshape(LOSS.shape)
    assert [tuple(p) for p in np.argwhere(grey)] == [(2, 3)]
    assert ax.texts[0].get_text() == "61 of 63 points · 1 failed · 1 NaN (grey)"


@pytest.mark.parametrize("log", [True, False])
def test_contour_of_a_circle_has_its_radius(log):
    ax = render.contour(bowl(81), levels=[1.0, 2.0], log=log)
    drawn = contours(ax)
    assert list(drawn.levels) == [1.0, 2.0]
    for level, segments in zip(drawn.levels, lines(ax), strict=True):
        radii = np.linalg.norm(np.concatenate(segments), axis=1)
        np.testing.assert_allclose(radii, np.sqrt((level - 0.05) / 5), rtol=2e-3)
    assert {text.get_text() for text in drawn.labelTexts} == {"1", "2"}


def test_contour_is_not_transposed(plane):
    ax = render.contour(plane, levels=[2.0], log=False)
    points = np.concatenate(lines(ax)[0])
    on_line = 0.1 + (points[:, 0] - 0.3) ** 2 + np.exp(points[:, 1])
    np.testing.assert_allclose(on_line, 2.0, atol=0.03)
    assert ax.get_xlim() == (-1.0, 1.0)
    assert ax.get_ylim() == (-0.5, 1.0)
    assert ax.get_aspect() == 1


def test_surface_has_every_value():
    loss = np.arange(12.0).reshape(3, 4) ** 2
    ax = render.surface3d(make((np.arange(4.0), np.arange(3.0)), loss), log=False)
    drawn = next(c for c in ax.collections if isinstance(c, Poly3DCollection))
    corners = drawn._faces.reshape(-1, 3) if hasattr(drawn, "_faces") else drawn._vec[:3].T
    points = {tuple(np.round(corner, 9)) for corner in corners}
    assert {(i, j, loss[j, i]) for j in range(3) for i in range(4)} <= points


def test_line_has_accuracy_in_per_cent_on_a_twin_axis():
    loss, accuracy = X**2 + 1, 1 / (1 + X**2)
    more = {"accuracy": accuracy, "loss_test": loss + 1, "accuracy_test": accuracy / 2}
    ax = render.line(make((X,), loss, **more))
    curves = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(curves["loss, train"].get_xdata(), X)
    np.testing.assert_array_equal(curves["loss, train"].get_ydata(), loss)
    np.testing.assert_array_equal(curves["loss, test"].get_ydata(), loss + 1)
    (twin,) = (other for other in ax.figure.axes if other is not ax)
    curves |= {line.get_label(): line for line in twin.get_lines()}
    np.testing.assert_array_equal(curves["accuracy, train"].get_ydata(), 100 * accuracy)
    np.testing.assert_array_equal(curves["accuracy, test"].get_ydata(), 50 * accuracy)
    assert [curves[f"loss, {split}"].get_linestyle() for split in ("train", "test")] == ["-", "--"]
    assert twin.get_ylabel() == "accuracy (%)"


def test_functions_draw_into_the_given_axes_and_leave_pyplot_alone(plane):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert render.contour(plane, left) is left
    assert render.filled(plane, right, colorbar=False) is right
    assert figure.axes == [left, right]
    with pytest.raises(InputError, match="projection='3d'"):
        render.surface3d(plane, left)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_notebook_shows_what_was_given_no_axes(plane, monkeypatch):
    """What pyplot knows of, a notebook shows below the cell."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.setattr("lsweep.render.axes.in_notebook", lambda: True)
    for name in ("filled", "surface3d"):
        figure = plane.plot(name).figure
        assert pyplot.get_fignums() == [figure.number]
        pyplot.close(figure)
    render.contour(plane, Figure().subplots())
    assert not pyplot.get_fignums()


@pytest.mark.parametrize("name", ["contour", "filled", "heatmap", "line", "surface3d", "trajectory"])
def test_every_sister_takes_an_axes_of_pyplot_and_returns_it(plane, name):
    """As notebooks compose: others' axes stay empty, and nothing is closed, shown or resized."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    path = Trajectory(
        coordinates=np.array([[0.5, 0.5], [0.0, 0.0]]),
        epochs=np.arange(2, dtype=np.int32),
        learning_rates=np.full(2, 0.1),
        trails=np.zeros(2, np.int32),
        names=("a",),
        captured=0.9,
        shares=np.array([0.5, 0.4]),
        explained=np.full(2, np.nan),
    )
    surface = dataclasses.replace(plane, trajectory=path)
    solid = {"projection": "3d"} if name == "surface3d" else {}
    with matplotlib.rc_context({"backend": "agg"}):
        figure, (left, right) = pyplot.subplots(1, 2, subplot_kw=solid)
        size = tuple(figure.get_size_inches())
        try:
            function = getattr(render, name)
            assert function(surface, ax=right) is right
            assert function(surface).figure is not figure
            assert right.has_data() and not left.has_data()
            assert pyplot.get_fignums() == [figure.number] and tuple(figure.get_size_inches()) == size
        finally:
            pyplot.close(figure)


def test_panels_share_one_scale():
    low, high = bowl(), bowl()
    high = make((high.x, high.y), high.loss * 1000)
    for kind in ("contour", "filled", "heatmap"):
        axes = Figure().subplots(1, 2)
        draw_panels(kind, axes, [low, high], Look(), own_figure=True)
        norms = [next(c for c in ax.collections if c.norm.scaled()).norm for ax in axes]
        assert all(isinstance(norm, LogNorm) for norm in norms)
        assert norms[0].vmin == norms[1].vmin == low.loss.min()
        assert norms[0].vmax == norms[1].vmax == high.loss.max()


def test_scale_goes_by_the_range():
    def scale(loss, **look):
        options = Look(**look)
        return choose([extract(make((X, Y), np.resize(loss, LOSS.shape)), options.metric, 2)], options)

    assert scale([0.05, 10.0]).log
    assert not scale([1.0, 10.0]).log
    assert not scale([-1.0, 1000.0]).log
    assert not scale([1.0, 1000.0], clip=10.0).log
    assert scale([0.0, 1e-3, 10.0]).lo == 1e-3  # a zero is drawn at the smallest positive value
    np.testing.assert_array_equal(scale([1.0, np.inf, 7.0]).drawn(np.array([np.inf, 7.0])), [7.0, 7.0])
    np.testing.assert_array_equal(scale([1.0, 9.0], clip=5.0).drawn(np.array([np.inf, 9.0])), [5.0, 5.0])
    assert scale([1.0, 2.0], metric="loss").cmap.name == "viridis"


def test_accuracy_is_in_per_cent_and_dark_where_good(plane):
    mesh = render.heatmap(plane, metric="accuracy").collections[0]
    np.testing.assert_allclose(mesh.get_array().reshape(LOSS.shape), 100 / (1 + LOSS))
    assert mesh.cmap.name == "viridis_r"


def test_partial_plane_is_drawn_from_its_complete_subgrid():
    status = (Grid(Axis(num=33), Axis(num=33)).levels().reshape(33, 33) < 6).astype(np.uint8)
    status[0, 1] = Status.DONE
    ax = render.contour(bowl(33, status=status), levels=[2.0])
    assert np.linalg.norm(np.concatenate(lines(ax)[0]), axis=1) == pytest.approx(0.6245, abs=0.02)
    assert "1/2 resolution" in ax.texts[0].get_text()


def test_partial_plane_with_a_hole_keeps_the_hole():
    status = np.ones((41, 41))
    status[20:, 20:] = Status.PENDING
    levels = lines(render.contour(bowl(status=status), levels=[2.0, 3.0]))
    points = np.concatenate([segment for level in levels for segment in level])
    assert len(points) and not ((points > 0.01).all(axis=1)).any()


SIZE = (7, 9)
ODD = {
    "all NaN": np.full(SIZE, np.nan),
    "all inf": np.full(SIZE, np.inf),
    "constant": np.full(SIZE, 2.3),
    "negative": -LOSS,
    "mixed": np.where(LOSS > 2, np.inf, np.where(LOSS < 1, np.nan, LOSS)),
    "minus infinity": np.where(LOSS > 2, -np.inf, LOSS),
    "nearly constant": 1 + 1e-13 * LOSS,
    "denormal": 5e-324 * (LOSS > 2),
    "huge": 10.0 ** (60 * LOSS),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["contour", "filled", "heatmap", "surface"])
def test_odd_values_are_drawn_without_a_warning(kind, tmp_path):
    states = (np.zeros(SIZE), np.arange(63).reshape(SIZE) == 31, np.full(SIZE, Status.SETTLED))
    odd = [make((X, Y), loss) for loss in ODD.values()] + [make((X, Y), LOSS, state) for state in states]
    figure = Figure()
    projection = "3d" if kind == "surface" else None
    draw = render.surface3d if kind == "surface" else getattr(render, kind)
    for k, surface in enumerate(odd):
        draw(surface, figure.add_subplot(3, 4, k + 1, projection=projection))
    figure.savefig(tmp_path / "odd.png", dpi=30)
    render.save(odd[0], tmp_path / "one.png", kind=kind, dpi=20)


@pytest.mark.slow
def test_odd_lines_are_drawn_without_a_warning(tmp_path):
    for loss in ODD.values():
        render.save(make((X,), loss[3]), tmp_path / "line.png", dpi=20)
    for axes, shape in (
        ((X, X[:1]), (1, 9)),
        ((X[:1], X), (9, 1)),
        ((X[:1], X[:1]), (1, 1)),
        ((X[:1],), (1,)),
    ):
        render.save(make(axes, np.resize(LOSS, shape)), tmp_path / "thin.png", dpi=20)
    ax = render.line(make((X[:1], X), LOSS[0][:, None]))
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), X)
    assert ax.get_xlabel().startswith(r"$\beta$")


def test_box_is_cut_at_the_slice():
    z = np.array([-1.0, 0.1, 2.0])
    box = make((X, Y, z), np.stack([LOSS, 2 * LOSS, 3 * LOSS]))
    middle = render.heatmap(box)
    np.testing.assert_array_equal(middle.collections[0].get_array().reshape(SIZE), 2 * LOSS)
    assert middle.texts[0].get_text() == "γ = 0.1"
    last = render.heatmap(box, index=2).collections[0]
    np.testing.assert_array_equal(last.get_array().reshape(SIZE), 3 * LOSS)
    with pytest.raises(InputError, match="slice must be 0 to 2 along z, got 3"):
        render.heatmap(box, index=3)


@pytest.mark.slow
@pytest.mark.parametrize("suffix,magic", [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_files_are_what_they_say_and_the_same_twice(plane, tmp_path, suffix, magic):
    for kind in ("filled", "surface"):
        first, second = (
            render.save(plane, tmp_path / n / f"a.{suffix}", kind=kind, dpi=60).read_bytes() for n in "12"
        )
        assert first.startswith(magic)
        assert first == second
        assert b"/Type3" not in first and b"<dc:date>" not in first and b"CreationDate" not in first
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == [f"a.{suffix}"]


def test_save_leaves_the_users_settings_alone(plane, tmp_path):
    before = dict(matplotlib.rcParams)
    render.save(plane, tmp_path / "a.png", dpi=20)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "options,complaint",
    [
        ({"metric": "los"}, "no metric 'los' in the surface (valid: accuracy, loss)"),
        ({"cmap": "viridi"}, "unknown colour map 'viridi' (did you mean 'viridis'?)"),
        ({"kind": "contuor"}, "unknown kind of figure 'contuor' (did you mean 'contour'?)"),
        ({"vmin": 2, "vmax": 1}, "vmin must be below vmax, got 2 and 1"),
        ({"log": True, "clip": -1}, "on a log scale clip must be above 0, got -1"),
        ({"log": True, "levels": [-1, 1]}, "on a log scale levels must be above 0, got -1"),
        ({"levels": 0}, "the number of levels must be 1 to 1000, got 0"),
        ({"clip": np.nan}, "clip must be a finite number, got nan"),
        ({"titles": ["a", "b"]}, "expected one title for each of the 1 surfaces, got 2"),
        ({"titles": ["$\\nonsense$"]}, "title '$\\\\nonsense$' has a formula that matplotlib cannot typeset"),
        ({"dpi": 0}, "dpi must be above 0"),
        ({"width": 1e6}, "width must be 0.5 to 100 inches"),
    ],
)
def test_bad_requests_are_one_clear_line(plane, tmp_path, options, complaint):
    with pytest.raises(InputError) as caught:
        render.save(plane, tmp_path / "a.png", **options)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bad_places_are_one_clear_line(plane, tmp_path):
    with pytest.raises(InputError, match=r"ends in one of \.png, \.pdf, \.svg"):
        render.save(plane, tmp_path / "a.jpeg")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*a\.png"):
        render.save(plane, tmp_path / "file" / "a.png", dpi=20)
    with pytest.raises(InputError, match="too few axes for a plane"):
        render.contour(make((X,), LOSS[0]))
    with pytest.raises(InputError, match="cannot share a figure"):
        render.save([plane, make((X,), LOSS[0])], tmp_path / "a.png")


def test_levels_are_round_numbers_within_the_range():
    assert list(round_levels(0.05, 10, 7, log=True)) == [0.1, 0.2, 0.5, 1, 2, 5]
    assert list(round_levels(0, 10, 4, log=False)) == [2, 4, 6, 8]
    assert list(round_levels(0.4, 5e5, 6, log=True)) == [1, 10, 100, 1000, 1e4, 1e5]
    assert len(round_levels(1e-3, 1e300, 10, log=True)) in range(8, 13)
    shared = shared_levels([(0.05, 10), (0.4, 1e6)], 8, log=True)
    assert sum(shared < 10) >= 6 and shared[-1] == 1e5
    # The paper's two networks: one density for both, enough lines in each, no decade without one.
    shared = shared_levels([(5.5e-4, 28), (0.106, 387)], 8, log=True)
    assert list(shared) == list(round_levels(5.5e-4, 387, 17, log=True)) and shared[4] == 0.02
    twins = [(5.5e-4, 28), (5.5e-4, 28 * (1 + 1e-6))]
    assert list(shared_levels(twins, 8, log=True)) == list(shared_levels(twins[::-1], 8, log=True))
    assert [plain(v) for v in (0, 0.5, 10000, 1e5, 2e-7)] == [
        "0",
        "0.5",
        "10000",
        "$10^{5}$",
        r"$2{\times}10^{-7}$",
    ]


def store(path: Path, surface: Surface) -> Path:
    """A sweep's file as its format says, without the store."""
    with h5py.File(path, "w") as file:
        file.attrs.update(format="lsweep", format_version=1, config=surface.config)
        bookkeeping = {"status": surface.status, "seconds": surface.seconds, "rank": surface.rank}
        for name, values in {**surface.axes, **surface.metrics, **bookkeeping}.items():
            file[name] = values
    return path


def test_command_line(plane, tmp_path, capsys):
    one = store(tmp_path / "one.h5", plane)
    two = store(tmp_path / "two.h5", bowl())
    assert cli.main(["render", str(one), "--dpi", "40"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "one_contour.png")
    assert (tmp_path / "one_contour.png").read_bytes().startswith(b"\x89PNG")
    out = str(tmp_path / "new" / "pair.svg")
    options = ["--kind", "filled", "--levels", "0.5,1,2", "--no-log", "--title", "A", "--title", "B"]
    assert cli.main(["render", str(one), str(two), "-o", out, *options]) == 0
    assert Path(out).read_text().startswith("<?xml")
    assert cli.main(["render", str(one), "--metric", "acc"]) == 2
    assert "(valid: accuracy, loss)" in capsys.readouterr().err


def test_command_line_output_names(tmp_path):
    files = ["runs/a.h5", "runs/b.h5"]
    assert output_path(None, files, "contour", "pdf") == Path("runs/a+b_contour.pdf")
    assert output_path(None, files * 2, "line", None) == Path("runs/a+3_more_line.png")
    assert output_path("x.v2", files, "line", "pdf") == Path("x.v2.pdf")
    assert output_path(str(tmp_path), files[:1], "line", None) == tmp_path / "a_line.png"
    with pytest.raises(InputError, match="different formats"):
        output_path("x.png", files, "line", "pdf")
    assert parse_levels("12") == 12 and parse_levels("0.1,1") == [0.1, 1.0]
    with pytest.raises(InputError, match="--levels must be"):
        parse_levels("many")


def test_importing_is_light():
    code = (
        "import sys, lsweep.render, lsweep.render.cli, lsweep.export, lsweep.export.cli;"
        "heavy = {'torch', 'mpi4py', 'h5py', 'matplotlib', 'vtkmodules', 'vtk'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.slow
def test_drawing_needs_neither_torch_nor_mpi(tmp_path):
    path = store(tmp_path / "a.h5", bowl())
    code = (
        "import sys; sys.modules['torch'] = sys.modules['mpi4py'] = None; from lsweep import cli;"
        f"assert cli.main(['render', {str(path)!r}, '--dpi', '20']) == 0;"
        f"assert cli.main(['export', {str(path)!r}]) == 0; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def refined(n=33) -> tuple[Surface, np.ndarray]:
    """A bowl, every second point along each axis evaluated, the others settled; and all of it."""
    axis = np.linspace(-1.0, 1.0, n)
    truth = np.exp(2 * axis[None, :] ** 2 + axis[:, None])
    status = np.full(truth.shape, Status.SETTLED)
    status[::2, ::2] = Status.DONE
    return make((axis, axis), truth, status, accuracy=1 / (1 + truth)), truth


def test_settled_points_are_drawn_as_interpolated():
    surface, truth = refined()
    field = extract(surface, "loss", 2)
    np.testing.assert_allclose(field.values, truth, rtol=1e-9)
    np.testing.assert_array_equal(field.evaluated, surface.done)
    assert field.notes == ("289 of 1089 points", "800 interpolated")
    assert not field.partial and field.thinned() is field
    ax = render.heatmap(surface, log=False)
    np.testing.assert_allclose(ax.collections[0].get_array().reshape(truth.shape), truth, rtol=1e-9)
    np.testing.assert_allclose(extract(surface, "accuracy", 2).values, 100 / (1 + truth), rtol=2e-3)


@pytest.mark.parametrize("kind", ["contour", "filled", "heatmap"])
def test_evaluated_points_are_shown_on_request(kind):
    surface, _ = refined()
    for show in (False, True):
        ax = getattr(render, kind)(surface, show_evaluated=show)
        dots = [line for line in ax.lines if line.get_marker() == "."]
        assert len(dots) == show
    x, y = dots[0].get_data()
    expected = {(surface.x[i], surface.y[j]) for j, i in np.argwhere(surface.done)}
    assert set(zip(x, y, strict=True)) == expected


def test_evaluated_points_of_a_line():
    axis = np.linspace(-1.0, 1.0, 65)
    status = np.full(65, Status.SETTLED)
    status[::4] = Status.DONE
    surface = make((axis,), np.exp(axis), status, accuracy=1 / (1 + np.exp(axis)))
    plain, dotted = render.line(surface), render.line(surface, show_evaluated=True)
    assert plain.lines[0].get_marker() != "."
    assert dotted.lines[0].get_marker() == "." and dotted.lines[0].get_markevery() == list(range(0, 65, 4))
    np.testing.assert_allclose(dotted.lines[0].get_ydata(), np.exp(axis), rtol=1e-9)


def test_evaluated_points_are_not_shown_on_a_relief(tmp_path):
    surface, _ = refined()
    with pytest.raises(InputError, match="only in flat figures and line plots"):
        render.save(surface, tmp_path / "a.png", kind="surface", show_evaluated=True)
    path = render.save(surface, tmp_path / "a.png", kind="contour", show_evaluated=True)
    assert path.read_bytes() != render.save(surface, tmp_path / "b.png", kind="contour").read_bytes()


def curved() -> Surface:
    smallest, largest = -0.1 - X[None, :] ** 2 * np.exp(Y[:, None]), 5 + X[None, :] + Y[:, None]
    return make((X, Y), LOSS, eig_min=smallest, eig_max=largest, eig_ratio=np.abs(smallest / largest))


def test_the_map_of_curvature(tmp_path, monkeypatch, capsys):
    """Cells of |λmin/λmax| with a colour bar that says so; a line is drawn as a line."""
    drawn = []
    monkeypatch.setattr(
        "lsweep.render.figure.draw_panels", lambda *a, **k: drawn.append(a) or draw_panels(*a, **k)
    )
    surface = curved()
    render.save(surface, tmp_path / "c.png", kind="curvature", dpi=50)
    kind, axes, _, look, _ = drawn[0]
    assert (kind, look.metric) == ("heatmap", "eig_ratio")
    cells = axes[0].collections[0].get_array()
    np.testing.assert_allclose(np.asarray(cells).reshape(7, 9), surface.metrics["eig_ratio"])
    assert axes[0].child_axes[0].get_ylabel() == r"$|\lambda_{\min}/\lambda_{\max}|$"
    row = make(
        (X,), LOSS[0], **{name: surface.metrics[name][0] for name in ("eig_min", "eig_max", "eig_ratio")}
    )
    render.save(row, tmp_path / "l.png", kind="curvature", metric="eig_min", dpi=50)
    assert drawn[1][0] == "line" and drawn[1][1][0].get_ylabel() == r"$\lambda_{\min}$"
    with pytest.raises(InputError, match=r"no curvature: sweep with evaluate.metrics"):
        render.save(make((X, Y), LOSS), tmp_path / "n.png", kind="curvature")


def test_the_legend_of_a_panel_among_others_is_on_that_panel():
    x = np.linspace(-1, 1, 9)
    surface = make((x,), 0.1 + x**2)
    surface = dataclasses.replace(surface, metrics=surface.metrics | {"accuracy": 1 / (1 + surface.loss)})
    first, second = Figure().subplots(1, 2)
    render.line(surface, first)
    owners = [ax for ax in first.figure.axes if ax.get_legend() is not None]
    assert len(owners) == 1 and owners[0].get_shared_x_axes().joined(owners[0], first)
    assert second.get_legend() is None


def test_panels_of_unlike_proportions_come_to_one_height():
    wide, tall = (
        make((np.linspace(0, w, 9), np.linspace(0, h, 9)), np.ones((9, 9))) for w, h in ((2, 1), (1, 2))
    )
    (width, height), widths = figure_size("contour", [wide, tall], 8.0)
    assert sum(widths) == pytest.approx(2) and widths[0] > widths[1]
    assert height < width  # as equal panels, the tall one would make it 7.65 high
    assert figure_size("contour", [wide, wide], None)[1] == [1.0, 1.0]


def test_the_papers_style_fills_in_what_was_not_asked_for(plane, tmp_path):
    look = styled(Look(), "li2018", "contour")
    assert look.cmap == "summer" and look.levels[:2] == (0.1, 0.6) and look.log is False
    asked = Look(cmap="magma", levels=5, log=True)
    assert styled(asked, "li2018", "filled") == asked
    assert styled(Look(metric="accuracy"), "li2018", "filled").levels is None
    assert styled(Look(), None, "contour") == styled(Look(), "lsweep", "contour") == Look()
    plain_one, paper = (
        render.save(plane, tmp_path / f"{style}.png", style=style, dpi=60).read_bytes()
        for style in ("lsweep", "li2018")
    )
    assert plain_one != paper
    for style, kind in (("li2019", "contour"), ("li2018", "line")):
        with pytest.raises(InputError, match=style):
            styled(Look(), style, kind)


def test_the_papers_style_in_a_notebook(plane):
    plain_one, paper = (
        render.heatmap(plane, style=style).collections[0].get_cmap().name for style in ("lsweep", "li2018")
    )
    assert plain_one == paper == "viridis"  # the study has it too
    maps = [render.filled(plane, style=style).collections[0].get_cmap().name for style in (None, "li2018")]
    assert maps == ["viridis", "summer"]
    assert plane.plot("surface3d", style="li2018").collections
    with pytest.raises(InputError, match="li2019"):
        render.filled(plane, style="li2019")
