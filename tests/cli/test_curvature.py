"""`lsweep curvature` against the dense Hessian of a small network, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import project
import pytest
import torch
from dense_hessian import dense

import lsweep
from lsweep import cli, config
from lsweep.comm import SerialComm
from lsweep.engine import job
from lsweep.evaluate import problem
from lsweep.render import spectrum

FULL = [
    "--set",
    "directions.bias_bn=random",
    "--set",
    "evaluate.precision=fp64",
    "--set",
    "curvature.tolerance=1e-7",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return cli.main(["curvature", "sweep.toml", "--quiet", *arguments])


@pytest.fixture
def truth(here: Path) -> tuple[np.ndarray, np.ndarray]:
    """Eigenpairs over all parameters, rising."""
    swept = problem.build(config.load("sweep.toml"), SerialComm())
    return np.linalg.eigh(dense(swept.model, next(swept.splits["train"].batches(40)), "cross_entropy"))


@pytest.mark.slow
def test_against_the_dense_spectrum(
    here: Path, truth: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*FULL, "--top", "4", "--probes", "40", "--steps", "50", "--products", "90", "-o", "out/c") == 0
    assert capsys.readouterr().out.split() == ["out/c.json", "out/c.h5", "out/c.png"]
    values, vectors = truth
    numbers = json.loads(Path("out/c.json").read_text())
    assert numbers["parameters"] == len(values) == 123
    np.testing.assert_allclose([pair["value"] for pair in numbers["largest"]], values[:-5:-1], rtol=1e-4)
    assert numbers["smallest"][0]["value"] == pytest.approx(values[0], rel=1e-4)
    assert all(pair["residual"] <= 1e-5 * values[-1] for pair in numbers["largest"])
    assert numbers["ratio"] == pytest.approx(abs(values[0] / values[-1]), rel=1e-3)
    assert numbers["converged"] is True
    found = numbers["trace"]
    assert abs(found["value"] - values.sum()) <= 4 * found["stderr"]
    assert found["stderr"] < 0.05 * np.abs(values).sum()
    spread = np.sqrt(2 * (values**2).sum() / 40) / len(values)  # of the mean eigenvalue over 40 probes
    assert abs(numbers["density"]["mean"] - values.mean()) < 3 * spread
    with h5py.File("out/c.h5") as file:
        nodes, weights = file["density/nodes"][...], file["density/weights"][...]
        at = np.array([-0.02, 0.02, 0.2]) * values[-1]  # beside the many that are zero
        share = (values[None, :] <= at[:, None]).mean(axis=1)
        cumulative = (nodes[None, :] <= at[:, None]) @ weights
        np.testing.assert_allclose(cumulative, share, atol=3 * np.sqrt(2 / 123 / 40) + 0.02)
        for number in (1, 2):
            group = file[f"eigenvectors/{number}"]
            vector = np.concatenate([group[str(k)][...].ravel() for k in range(4)])
            assert abs(vector @ vectors[:, -number]) == pytest.approx(1.0, abs=1e-4)
    assert Path("out/c.png").stat().st_size > 10_000


@pytest.mark.slow
def test_its_vectors_are_directions(here: Path, truth: tuple[np.ndarray, np.ndarray]) -> None:
    """Along the first eigenvector the loss curves by λmax, along d₂ by the second; both through the file."""
    assert run(*FULL) == 0
    values, _ = truth
    step = 1e-2
    axis = {"min": -step, "max": step, "num": 3}
    made = config.from_table(
        {
            "output": "plane.h5",
            "model": {"source": "net.py:make_net", "weights": "net.pt"},
            "data": {"source": "npz", "path": "train.npz"},
            "directions": {"kind": "file", "path": "out/sweep_curvature.h5"},
            "grid": {"x": axis, "y": axis},
            "evaluate": {"device": "cpu", "precision": "fp64"},
        }
    )
    job.sweep(made, SerialComm())
    loss = lsweep.open("plane.h5").loss
    along_x, along_y = loss[1], loss[:, 1]
    for line, value in ((along_x, values[-1]), (along_y, values[-2])):
        assert (line[0] - 2 * line[1] + line[2]) / step**2 == pytest.approx(value, rel=0.02)


def test_over_the_weights_that_the_directions_move(here: Path) -> None:
    assert run("--set", 'directions.exclude=["3.*"]', "--top", "2", "-o", "c.json") == 0
    numbers = json.loads(Path("c.json").read_text())
    assert (numbers["parameters"], numbers["tensors"], numbers["precision"]) == (96, ["1.weight"], "fp32")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--top", "0"], "--top must be >= 1"),
        (["--top", "500"], "only 114 parameters move"),
        (["--set", 'directions.include=["1.bias"]'], "leave no parameter to move"),
        (["--set", "curvature.tol=1"], "unknown key 'curvature.tol'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1
    assert not list(here.rglob("*curvature*"))


def test_no_finite_hessian(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = project.state()
    state["3.weight"].fill_(float("nan"))
    torch.save(state, "net.pt")
    assert run() == 2
    assert "no finite Hessian at the centre" in capsys.readouterr().err


def test_the_figure_of_one_eigenvalue(tmp_path: Path) -> None:
    """A spectrum without width is drawn too."""
    path = spectrum.save(tmp_path / "s.svg", np.array([2.0]), np.array([1.0]), size=10, eigenvalues=[2.0])
    assert path.read_text().startswith("<?xml")
