"""Paths against numpy's SVD and least squares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import project
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lsweep
from lsweep import cli, render
from lsweep.directions import pca
from lsweep.directions.checkpoint_matrix import CheckpointRows
from lsweep.errors import CheckpointError, FileFormatError, InputError
from lsweep.models import checkpoint, trail
from lsweep.models import parameters as weights
from lsweep.render.paths import drops_of
from lsweep.store.reader import read as read_sweep
from lsweep.store.reader import read_identity
from lsweep.store.validation import read_direction_file


class Matrix:
    """Rows that are in memory, in blocks of odd widths."""

    def __init__(self, matrix: np.ndarray, width: int = 7) -> None:
        self.matrix, self.width = matrix, width
        self.count, self.size = matrix.shape

    def blocks(self) -> Iterator[np.ndarray]:
        for start in range(0, self.size, self.width):
            yield self.matrix[:, start : start + self.width]


def walk(count: int = 12, size: int = 300, seed: int = 0) -> np.ndarray:
    """A random walk that ends at 0, with steps that become smaller."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((count, size)) * np.linspace(3, 0.3, count)[:, None]
    path = np.cumsum(steps, axis=0)
    return path - path[-1]


@pytest.mark.parametrize("centred", [True, False])
def test_principal_axes_are_those_of_the_svd(centred: bool) -> None:
    matrix = walk()
    rows = Matrix(matrix)
    found = pca.principal(pca.gram(rows), 3, centred=centred)
    axes = pca.axes(rows, found.weights)
    used = matrix - matrix.mean(axis=0) if centred else matrix
    _, singular, right = np.linalg.svd(used, full_matrices=False)
    np.testing.assert_allclose(found.ratios, singular**2 / (singular**2).sum(), atol=1e-6)
    np.testing.assert_allclose(found.variances, singular**2 / 11, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.abs((axes * right[:3]).sum(axis=1)), 1.0, rtol=1e-6)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
    projected = pca.project(rows, axes)
    signs = np.sign((axes * right[:3]).sum(axis=1))
    np.testing.assert_allclose(projected.coordinates, matrix @ right[:3].T * signs, atol=1e-5)
    assert (projected.coordinates[0] > 0).all() and not projected.coordinates[-1].any()


@pytest.mark.slow
def test_pca_of_scikit_learn_has_the_same_numbers() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    matrix = walk(seed=3)
    theirs = decomposition.PCA(2).fit(matrix)
    ours = pca.principal(pca.gram(Matrix(matrix)), 2)
    np.testing.assert_allclose(ours.ratios[:2], theirs.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(ours.variances[:2], theirs.explained_variance_, rtol=1e-6)


def test_projection_onto_axes_that_are_not_orthogonal_is_least_squares() -> None:
    matrix = walk()
    rng = np.random.default_rng(1)
    one = rng.standard_normal(300)
    axes = np.stack([one * 40, one + 0.2 * rng.standard_normal(300)]).astype(np.float32)
    found = pca.project(Matrix(matrix), axes)
    truth, *_ = np.linalg.lstsq(axes.T.astype(np.float64), matrix.T, rcond=None)
    np.testing.assert_allclose(found.coordinates, truth.T, rtol=1e-6, atol=1e-9)
    left = matrix - truth.T @ axes
    assert found.captured == pytest.approx(1 - (left**2).sum() / (matrix**2).sum(), rel=1e-9)
    dots = matrix @ axes.T.astype(np.float64)
    assert not np.allclose(dots, truth.T, rtol=0.1)  # what dot products would have said
    single = [pca.project(Matrix(matrix), axes[k : k + 1]).captured for k in (0, 1)]
    np.testing.assert_allclose(found.shares, single, rtol=1e-9)


def test_a_path_in_a_plane_is_captured_whole_and_has_no_third_axis() -> None:
    flat = walk(count=6, size=2) @ np.random.default_rng(2).standard_normal((2, 50))
    rows = Matrix(flat)
    products = pca.gram(rows)
    found = pca.principal(products, 2)
    assert pca.project(rows, pca.axes(rows, found.weights)).captured == pytest.approx(1, abs=1e-6)
    with pytest.raises(InputError, match="moves in 2 dimensions, but 3 principal axes"):
        pca.principal(products, 3)
    with pytest.raises(InputError, match="moves in 0 dimensions"):
        pca.principal(np.zeros((3, 3)), 1)


def test_ranges_hold_the_path_and_the_centre_with_a_margin() -> None:
    assert pca.range_of(np.array([1.0, 5.0]), 0.25) == (-1.25, 6.25)
    assert pca.range_of(np.array([-0.0123, 0.02]), 0.0) == (-0.0123, 0.02)
    low, high = pca.range_of(np.array([-1234.567, 0.0]), 0.1)
    assert low == -1360.0 and high == 130.0
    with pytest.raises(InputError, match="does not move along this axis"):
        pca.range_of(np.zeros(4), 0.25)


class Net(nn.Module):
    """Every kind of entry: a convolution, a scalar, a tied pair."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.one = nn.Linear(5, 4)
        self.two = nn.Linear(5, 4, bias=False)
        self.two.weight = self.one.weight


def checkpoints(folder: Path, suffix: str, count: int = 4) -> tuple[Net, list[Path], np.ndarray]:
    """Files, and their parameters as a matrix."""
    files, rows = [], []
    for k in range(count):
        torch.manual_seed(k)
        net = Net()
        file = folder / f"{k}{suffix}"
        state = {key: value.clone() for key, value in net.state_dict().items()}
        save_file(state, file) if suffix == ".safetensors" else torch.save({"state_dict": state}, file)
        files.append(file)
        rows.append(np.concatenate([p.detach().double().reshape(-1).numpy() for p in net.parameters()]))
    return net, files, np.array(rows)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("budget", [1, 500, 10**6])
def test_rows_of_files_are_the_parameters_less_the_centre(tmp_path: Path, suffix: str, budget: int) -> None:
    net, files, matrix = checkpoints(tmp_path, suffix)
    space = weights.weight_space(net)
    rows = CheckpointRows(files, net, space, [True] * 5, weights.tensors_of(net, space), budget=budget)
    blocks = list(rows.blocks())
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), matrix - matrix[-1])
    assert len(blocks) > 1 or budget > 500
    tensors = rows.tensors(matrix[0])
    np.testing.assert_array_equal(rows.vector(tensors), matrix[0].astype(np.float32))
    assert [tuple(t.shape) for t in tensors] == [entry.shape for entry in space.entries]


def test_rows_of_some_parameters_only(tmp_path: Path) -> None:
    net, files, matrix = checkpoints(tmp_path, ".safetensors")
    space = weights.weight_space(net)
    chosen = [entry.name == "one.weight" for entry in space.entries]
    rows = CheckpointRows(files, net, space, chosen, weights.tensors_of(net, space))
    entry = space.entries[chosen.index(True)]
    whole = (matrix - matrix[-1])[:, entry.offset : entry.offset + entry.numel]
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks()), axis=1), whole)
    assert sum(bool(t.any()) for t in rows.tensors(whole[0])) == 1


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    net, files, _ = checkpoints(tmp_path, ".safetensors")
    state = checkpoint.read(files[1])
    save_file({**state, "scale": torch.ones(3)}, files[1])
    space = weights.weight_space(net)
    rows = CheckpointRows(files, net, space, [True] * 5, weights.tensors_of(net, space))
    with pytest.raises(CheckpointError, match=r"1\.safetensors' does not fit the network"):
        list(rows.blocks())
    files[1].write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        list(rows.blocks())


SWEEP = """
[train]
trail = "out/trail"
epochs = 5
batch_size = 16
drops = [2, 4]
augment = "none"
lr = 0.3
[directions]
kind = "pca"
trail = ["out/trail"]
"""


@pytest.fixture
def here(tmp_path: Path, unlaunched: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a trained network's trail, the working directory."""
    path = project.make(tmp_path)
    text = path.read_text().replace('weights = "net.pt"\n', "")
    grid = text[text.index("[grid]") : text.index("[evaluate]")]
    path.write_text(text.replace(grid, "[grid]\nx = {num = 6}\ny = {num = 4}\n") + SWEEP)
    monkeypatch.chdir(tmp_path)
    assert run("train", "--quiet") == 0
    return tmp_path


def run(verb: str, *arguments: str, sets: tuple[str, ...] = ()) -> int:
    return cli.main([verb, "sweep.toml", *arguments, *(part for pair in sets for part in ("--set", pair))])


def parameters(epoch: int, folder: str = "out/trail") -> np.ndarray:
    state = checkpoint.read(f"{folder}/epoch_{epoch:04d}.safetensors")
    names = ("1.weight", "1.bias", "3.weight", "3.bias")
    return np.concatenate([state[name].double().reshape(-1).numpy() for name in names])


def test_a_sweep_takes_axes_ranges_and_path_from_the_trail(here: Path) -> None:
    assert run("sweep", "--quiet") == 0
    surface = read_sweep(here / "out/sweep.h5")
    path = surface.trajectory
    assert path is not None
    matrix = np.stack([parameters(k) - parameters(5) for k in range(6)])
    _, singular, right = np.linalg.svd(matrix - matrix.mean(0), full_matrices=False)
    np.testing.assert_allclose(path.explained, (singular**2 / (singular**2).sum())[:2], atol=1e-6)
    signs = np.sign(matrix[0] @ right[:2].T)
    np.testing.assert_allclose(path.coordinates, matrix @ right[:2].T * signs, atol=1e-5)
    stored = read_direction_file(here / "out/sweep.h5")
    for k, axis in enumerate("xy"):
        direction = np.concatenate([tensor.reshape(-1) for tensor in stored[axis]])
        np.testing.assert_allclose(direction, right[k] * signs[k], atol=1e-6)
        low, high = pca.range_of(path.coordinates[:, k], 0.25)
        assert (surface.axes[axis][0], surface.axes[axis][-1], len(surface.axes[axis])) == (
            low,
            high,
            (6, 4)[k],
        )
    assert path.epochs.tolist() == list(range(6)) and path.names == ("trail",)
    np.testing.assert_allclose(path.learning_rates, [0.3, 0.3, 0.3, 0.03, 0.03, 0.003])
    assert drops_of(path.learning_rates) == [2, 4]
    assert 0.5 < path.captured <= 1 and path.captured == pytest.approx(path.shares.sum(), abs=1e-6)
    # The same command finds it complete; a trail that grew is another sweep.
    assert run("sweep", "--quiet") == 0
    assert read_identity(here / "out/sweep.h5")[0]["trail"] == [trail.read("out/trail").sha256]
    assert run("train", "--quiet", sets=("train.epochs=6",)) == 0
    assert run("sweep", "--quiet") == 2


@pytest.mark.parametrize(
    ("grid", "closed"), [(5, ""), ({"x": {"num": 5}, "y": {"num": 5, "min": -1.0}}, "y")], ids=["all", "one"]
)
def test_a_sweep_from_python_takes_the_ranges_too(here: Path, grid: object, closed: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    model.load_state_dict(checkpoint.read("out/trail/epoch_0005.safetensors"))
    recipe = {"kind": "pca", "trail": ["out/trail"]}
    data = (torch.randn(8, 1, 4, 4), torch.zeros(8, dtype=torch.long))
    surface = lsweep.sweep(model, data, directions=recipe, grid=grid)
    assert surface.trajectory is not None
    for k, name in enumerate("xy"):
        low, high = pca.range_of(surface.trajectory.coordinates[:, k], 0.25)
        axis = surface.axes[name]
        assert (axis[0], axis[-1]) == ((-1, 1) if name == closed else (low, high))


def test_the_loss_at_the_end_of_the_path_is_the_trail_s(here: Path) -> None:
    """(0, 0) is θₙ, and the first checkpoint lies where its coordinates say, if the plane holds it."""
    sets = ("grid={x={min=0.0, max=0.0, num=1}, y={min=0.0, max=0.0, num=1}}",)
    assert run("sweep", "--quiet", sets=sets) == 0
    loss = read_sweep(here / "out/sweep.h5").loss
    assert loss[0, 0] == pytest.approx(trail.read("out/trail").epochs[-1].values["loss"], rel=1e-6)


def test_other_planes_hold_the_path_too(here: Path) -> None:
    start = 'directions.to="out/trail/epoch_0000.safetensors"'
    sets = ("directions.x.kind=interpolate", start, "directions.y.kind=random", "output=out/straight.h5")
    assert run("sweep", "--quiet", sets=sets) == 0
    path = read_sweep(here / "out/straight.h5").trajectory
    assert path is not None and np.isnan(path.explained).all()
    np.testing.assert_allclose(path.coordinates[[0, 5]], [[1, 0], [0, 0]], atol=1e-5)
    assert run("sweep", "--quiet", sets=("directions.kind=random", "output=out/random.h5")) == 0
    random = read_sweep(here / "out/random.h5").trajectory
    assert random is not None and random.captured < 0.5 < path.captured


def test_a_principal_axis_and_an_eigenvector_in_one_plane(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("directions.y.kind=hessian", 'evaluate.metrics=["hessian"]', "grid.x.num=3", "grid.y.num=2")
    sets += ("directions.y.normalize=none",)
    assert run("sweep", "--quiet", sets=sets) == 0
    surface = read_sweep(here / "out/sweep.h5")
    path = surface.trajectory
    assert path is not None and path.explained[0] > 0 and np.isnan(path.explained[1])
    assert np.isfinite(surface.metrics["eig_max"]).all()
    stored = read_direction_file(here / "out/sweep.h5")
    matrix = np.stack([parameters(k) - parameters(5) for k in range(6)])
    right = np.linalg.svd(matrix - matrix.mean(0), full_matrices=False)[2]
    x, y = (np.concatenate([tensor.reshape(-1) for tensor in stored[axis]]) for axis in "xy")
    assert abs(x @ right[0]) == pytest.approx(1, abs=1e-6) and np.linalg.norm(y) == pytest.approx(1, abs=1e-6)
    # Going on, it takes the eigenvector from the file.
    monkeypatch.setattr("lsweep.directions.eigenvectors._compute", None)
    assert run("sweep", "--quiet", sets=sets) == 0


def test_several_trails_in_one_plane(here: Path) -> None:
    more = ("train.optimizer=adam", "train.lr=0.01", "train.trail=out/adam")
    assert run("train", "--quiet", sets=more) == 0
    trails = 'directions.trail=["out/trail", "out/adam"]'
    assert run("sweep", "--quiet", sets=(trails, "output=out/both.h5")) == 0
    path = read_sweep(here / "out/both.h5").trajectory
    assert path is not None and path.names == ("trail", "adam")
    assert path.trails.tolist() == [0] * 6 + [1] * 6
    matrix = np.stack(
        [parameters(k, folder) - parameters(5) for folder in ("out/trail", "out/adam") for k in range(6)]
    )
    right = np.linalg.svd(matrix - matrix.mean(0), full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(path.coordinates), np.abs(matrix @ right[:2].T), atol=1e-5)
    assert not path.coordinates[5].any() and path.coordinates[11].any()


def test_excluded_parameters_do_not_move(here: Path) -> None:
    sets = ('directions.exclude=["1.*"]', "output=out/part.h5")
    assert run("sweep", "--quiet", sets=sets) == 0
    stored = read_direction_file(here / "out/part.h5")
    assert [bool(t.any()) for t in stored["x"]] == [False, False, True, True]


def test_the_report_says_what_each_plane_captures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("trajectory", "-o", "path.json") == 0
    out = capsys.readouterr().out
    assert "out/trail: 6 checkpoints, epochs 0 to 5" in out and "123 parameters move" in out
    found = json.loads((here / "path.json").read_text())
    planes = found["planes"]
    assert planes["random"]["captured"] < planes["principal axes"]["captured"]
    assert planes["principal axes"]["captured"] == pytest.approx(
        sum(planes["principal axes"]["shares"]), abs=1e-6
    )
    np.testing.assert_allclose(
        [row[0] for row in planes["initial to final, random"]["coordinates"]][:1], [1.0], atol=1e-5
    )
    assert [row["epoch"] for row in found["checkpoints"]] == list(range(6))


def test_checkpoints_of_another_program_are_a_trail(here: Path) -> None:
    for k in range(6):
        torch.save(checkpoint.read(f"out/trail/epoch_{k:04d}.safetensors"), f"own_{2 * k}.pt")
    assert run("sweep", "--quiet", sets=("directions.trail=own_*.pt", "output=out/own.h5")) == 0
    assert run("sweep", "--quiet") == 0
    own, ours = (read_sweep(here / f"out/{name}.h5") for name in ("own", "sweep"))
    assert own.trajectory is not None and ours.trajectory is not None
    np.testing.assert_array_equal(own.trajectory.coordinates, ours.trajectory.coordinates)
    np.testing.assert_array_equal(own.loss, ours.loss)
    assert np.isnan(own.trajectory.learning_rates).all() and not drops_of(own.trajectory.learning_rates)


@pytest.mark.parametrize(
    "sets, complaint",
    [
        (("directions.trail=[]",), "needs directions.trail"),
        (("directions.trail=nowhere",), "no trail at 'nowhere'"),
        (("model.weights=out/trail/epoch_0002.safetensors",), "goes through its last checkpoint"),
        (("directions.margin=-1",), "directions.margin must be finite and >= 0"),
        (("directions.kind=pcs",), "directions.kind must be one of random, interpolate, pca, file"),
    ],
)
def test_bad_input_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], sets: tuple[str, ...], complaint: str
) -> None:
    assert run("sweep", "--quiet", sets=sets) == 2
    err = capsys.readouterr().err
    assert err.startswith("lsweep: error: ") and err.count("\n") == 1 and complaint in err, err
    assert not (here / "out/sweep.h5").exists()


def test_the_figure_has_path_rings_and_shares(here: Path) -> None:
    assert run("sweep", "--quiet") == 0
    surface = read_sweep(here / "out/sweep.h5")
    path = surface.trajectory
    assert path is not None
    ax = render.trajectory(surface)
    drawn = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(drawn["trail"].get_xydata(), path.coordinates)
    rings = next(line for line in ax.get_lines() if line.get_markerfacecolor() == "none")
    np.testing.assert_array_equal(rings.get_xydata(), path.coordinates[[2, 4]])
    assert ax.get_xlabel() == f"1st PCA component\n{100 * path.explained[0]:.2f} % of the variance"
    assert ax.get_ylabel() == f"2nd PCA component\n{100 * path.explained[1]:.2f} % of the variance"
    first = render.save(surface, here / "1.svg", kind="trajectory").read_bytes()
    assert first == render.save(surface, here / "2.svg", kind="trajectory").read_bytes()
    assert cli.main(["render", "out/sweep.h5", "--kind", "trajectory", "--dpi", "30"]) == 0
    assert (here / "out/sweep_trajectory.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_without_a_path_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ("directions.kind=random", "directions.trail=[]", "model.weights=out/trail", "output=out/none.h5")
    assert run("sweep", "--quiet", sets=sets) == 0
    assert cli.main(["render", "out/none.h5", "--kind", "trajectory"]) == 2
    assert "none.h5 has no trajectory; set directions.trail to" in capsys.readouterr().err


def test_a_damaged_path_is_refused(here: Path) -> None:
    import h5py

    assert run("sweep", "--quiet") == 0
    with h5py.File("out/sweep.h5", "r+") as file:
        file["trajectory/trails"][...] = 7
    with pytest.raises(FileFormatError, match="'trajectory' is damaged"):
        read_sweep(here / "out/sweep.h5")
    with h5py.File("out/sweep.h5", "r+") as file:
        file["trajectory/trails"][...] = 0
        file["trajectory"].attrs["names"] = '["a", "of no checkpoint"]'
    with pytest.raises(FileFormatError, match="'trajectory' is damaged"):
        read_sweep(here / "out/sweep.h5")
