"""Steps along a trail, against plain gradient descent, where each step is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import project
import pytest
import torch

from lsweep import cli, config
from lsweep.comm import SerialComm
from lsweep.evaluate import problem
from lsweep.models import checkpoint, trail
from lsweep.training import steps

DESCENT = """
[train]
trail = "out/trail"
epochs = 4
batch_size = 40
drops = [2]
augment = "none"
momentum = 0.0
weight_decay = 0.0
lr = 0.3
[directions]
trail = ["out/trail"]
"""


@pytest.fixture
def here(tmp_path: Path, unlaunched: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, the working directory; `train` makes one step of gradient descent an epoch."""
    path = project.make(tmp_path)
    path.write_text(path.read_text().replace('weights = "net.pt"\n', "") + DESCENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def followed(*overrides: str) -> steps.Steps:
    assert cli.main(["train", "sweep.toml", "--quiet", *(f"--set={pair}" for pair in overrides)]) == 0
    settings = config.load("sweep.toml", overrides)
    made = problem.build(settings, SerialComm())
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    placement = problem.place(settings, made.model, SerialComm(), "weights")
    followed = trail.read(settings.directions.trail[0])
    found = steps.along(settings.directions, settings.curvature, made, placement, followed, SerialComm())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.model.state_dict().items())
    return found


def parameters(epoch: int) -> dict[str, np.ndarray]:
    state = checkpoint.read(f"out/trail/epoch_{epoch:04d}.safetensors")
    return {name: tensor.double().numpy() for name, tensor in state.items()}


def test_gradient_descent_goes_straight_down(here: Path) -> None:
    found = followed()
    np.testing.assert_allclose(found.cosines, 1.0, atol=1e-5)
    np.testing.assert_allclose(found.lengths, np.array([0.3, 0.3, 0.03, 0.03]) * found.gradients, rtol=1e-4)
    assert found.epochs.tolist() == [0, 1, 2, 3, 4]


def test_weight_decay_turns_the_step_by_as_much_as_it_must(here: Path) -> None:
    found = followed("train.weight_decay=0.1")
    flat = [np.concatenate([t.ravel() for t in parameters(epoch).values()]) for epoch in (0, 1)]
    # θ₁ = θ₀ - lr (∇L + λ θ₀), so the step and θ₀ give ∇L.
    slope = (flat[0] - flat[1]) / 0.3 - 0.1 * flat[0]
    cosine = (flat[0] - flat[1]) @ slope / np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(slope)
    assert found.cosines[0] == pytest.approx(cosine, abs=1e-5) and cosine < 0.999
    assert found.gradients[0] == pytest.approx(np.linalg.norm(slope), rel=1e-4)


def test_norms_and_histograms_are_those_of_the_checkpoints(here: Path) -> None:
    found = followed()
    for index, epoch in enumerate(found.epochs):
        tensors = parameters(epoch)
        norms = {name: np.linalg.norm(tensor) for name, tensor in tensors.items()}
        np.testing.assert_allclose(found.tensors[index], [norms[name] for name in found.names], rtol=1e-6)
        assert found.norms[index] == pytest.approx(np.linalg.norm(list(norms.values())), rel=1e-6)
        weights = np.concatenate([t.ravel() for t in tensors.values() if t.ndim > 1])
        np.testing.assert_array_equal(found.counts[index], np.histogram(weights, found.edges)[0])
        assert found.counts[index].sum() == 6 * 16 + 3 * 6


def test_only_what_is_included_counts(here: Path) -> None:
    found = followed('directions.include=["3.*"]')
    assert found.names == ("3.weight", "3.bias") and found.counts.sum(axis=1).tolist() == [18] * 5
    assert (np.abs(found.cosines - 1) < 1e-5).all()


NORMED = """
from torch import nn

def make_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
"""


def test_with_each_batch_s_own_statistics_it_is_training_s_gradient(here: Path) -> None:
    (here / "net.py").write_text(NORMED)
    own = followed("evaluate.batchnorm=recalibrate")
    np.testing.assert_allclose(own.cosines, 1.0, atol=1e-5)
    fixed = followed()
    assert fixed.cosines[0] < 0.95  # the statistics are those of no data, and constants
    np.testing.assert_array_equal(fixed.norms, own.norms)


def test_a_standstill_has_no_cosine(here: Path) -> None:
    found = followed("train.lr=1e-30")
    assert np.isnan(found.cosines).all() and not found.lengths.any()
    assert found.to_json()["cosines"] == [None] * 4


def test_the_command_line_shows_and_writes_the_steps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = followed()
    assert cli.main(["trajectory", "sweep.toml", "--steps", "-o", "path.json"]) == 0
    out = capsys.readouterr().out
    assert "epoch      rate        norm        step    gradient   cosine" in out and "+1.0000" in out
    written = json.loads(Path("path.json").read_text())["steps"]["out/trail"]
    assert written["cosines"] == expected.cosines.tolist() and len(written["counts"]) == 5
