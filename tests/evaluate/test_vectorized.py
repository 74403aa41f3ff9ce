"""Several points at once give what they give one by one, whole tiles always, and are refused where they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import project
import pytest
import torch
from launch import python
from small_models import MODELS
from torch import nn

from lsweep import config
from lsweep.comm import SerialComm
from lsweep.data import from_object
from lsweep.engine import choose, setup
from lsweep.errors import InputError
from lsweep.evaluate import problem
from lsweep.evaluate.exact import exact_evaluator
from lsweep.evaluate.objective import Supervised, cross_entropy, mse
from lsweep.evaluate.vectorized import vectorize
from lsweep.models.parameters import weight_space
from lsweep.store.reader import read, read_identity

POINTS = np.random.default_rng(0).uniform(-1, 1, (6, 2))


class Branching(nn.Module):
    """Its way depends on the data: vmap cannot batch it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y if bool(y.sum() > 0) else -y


def drawn(model: nn.Module) -> list[list[torch.Tensor]]:
    rng = torch.Generator().manual_seed(1)
    return [[torch.randn(p.shape, generator=rng) for p in model.parameters()] for _ in range(2)]


INPUTS = {
    "linear": torch.randn(7, 5),
    "conv": torch.randn(7, 3, 6, 5),
    "hf": torch.randn(7, 5),
    "embedding": torch.arange(7) % 6,
    "tied": torch.arange(7),
    "norms": torch.randn(7, 4),
}


@pytest.mark.parametrize("name", INPUTS)
def test_the_same_values_as_one_by_one(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = MODELS[name](), INPUTS[name]
    classes = model.eval()(inputs).shape[1]
    target = torch.arange(7) % classes
    data = {"train": from_object((inputs, target)), "test": from_object((inputs[:3], target[:3]))}
    with exact_evaluator(
        model,
        data,
        Supervised(cross_entropy, {"twice": lambda o, t: 2 * cross_entropy(o, t)}),
        weight_space(model),
        drawn(model),
        dtype=torch.float64,
        batch_size=4,
    ) as evaluator:
        single = evaluator.evaluate(POINTS).values
        together = vectorize(evaluator).evaluate(POINTS)
    np.testing.assert_allclose(together.values, single, rtol=1e-10)
    assert together.columns["batch_size"].tolist() == [4] * 6


@pytest.mark.parametrize("name", INPUTS)
def test_batches_are_as_large_as_all_points_together_allow(name: str) -> None:
    model = MODELS[name]()
    target = torch.zeros(7, dtype=torch.long)
    data = {"train": from_object((INPUTS[name], target))}
    with exact_evaluator(
        model, data, Supervised(cross_entropy), weight_space(model), drawn(model), batch_size=4
    ) as evaluator:
        joint = vectorize(evaluator)
    assert joint.examples_a_batch(4, 7) == 7
    assert joint.examples_a_batch(1 << 30, 7) == 1
    alone = joint.examples_a_batch(1, 1 << 30)
    for points in (4, 16, 64):
        assert alone - points < points * joint.examples_a_batch(points, 1 << 30) <= alone


def test_what_cannot_be_done_together() -> None:
    data = {"train": from_object((torch.randn(5, 4), torch.randint(0, 3, (5,))))}
    model: nn.Module = Branching()
    with (
        exact_evaluator(
            model, data, Supervised(cross_entropy), weight_space(model), drawn(model)
        ) as evaluator,
        pytest.raises(InputError, match=r"at once cannot be evaluated here.*points_at_once = 1"),
    ):
        vectorize(evaluator)
    model = nn.Linear(4, 3)

    def own(network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": mse(network(batch[0]), network(batch[0]) * 0)}

    with (
        exact_evaluator(model, data, own, weight_space(model), drawn(model)) as evaluator,
        pytest.raises(InputError, match="the user's own"),
    ):
        vectorize(evaluator)
    with (
        exact_evaluator(
            nn.Sequential(nn.Linear(4, 3), bn := nn.BatchNorm1d(3)),
            data,
            Supervised(cross_entropy),
            weight_space(nn.Sequential(nn.Linear(4, 3), bn), "states"),
            [[torch.zeros(s) for s in [(3, 4), (3,), (3,), (3,), (3,), (3,)]]] * 2,
        ) as evaluator,
        pytest.raises(InputError, match="running statistics move"),
    ):
        vectorize(evaluator)


def sweep(folder: Path, output: str, *more: str) -> str:
    settings = [f"output={output}", "evaluate.points_at_once=4", "grid.x.num=7", *more]
    flags = [f for f in settings if f.startswith("--") or f.isdigit()]
    pairs = [part for s in settings if s not in flags for part in ("--set", s)]
    done = python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", *pairs, *flags, cwd=folder)
    assert done.returncode in (0, 75), done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_tile_is_evaluated_whole_whatever_is_pending(tmp_path: Path) -> None:
    """21 points, tiles of 4: half a tile is lost, and what was there and what comes after have the same bits."""
    project.make(tmp_path)
    sweep(tmp_path, "whole.h5")
    sweep(tmp_path, "parts.h5", "--max-points", "6")
    import h5py

    with h5py.File(tmp_path / "parts.h5", "r+") as file:
        status = file["status"][...]
        done = np.flatnonzero(status.reshape(-1))
        assert len(done) == 8
        status.reshape(-1)[done[::2]] = 0
        file["status"][...] = status
        loss = file["loss"][...]
        loss.reshape(-1)[done[::2]] = np.nan
        file["loss"][...] = loss
    sweep(tmp_path, "parts.h5")
    whole, parts = read(tmp_path / "whole.h5"), read(tmp_path / "parts.h5")
    assert whole.complete and parts.complete
    assert whole.loss.tobytes() == parts.loss.tobytes()
    identity = read_identity(tmp_path / "whole.h5")[0]
    # All 40 examples at once: so few fill no batch.
    assert (identity["points_at_once"], identity["batch_size"]) == (4, 40)
    single = python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", "--set", "grid.x.num=7", cwd=tmp_path)
    assert single.returncode == 0, single.stderr
    np.testing.assert_allclose(whole.loss, read(tmp_path / "out/sweep.h5").loss, rtol=1e-5)
    assert "points_at_once" not in read_identity(tmp_path / "out/sweep.h5")[0]


@pytest.mark.slow
def test_auto_is_measured_once(tmp_path: Path) -> None:
    project.make(tmp_path)
    auto = "evaluate.points_at_once=auto"
    done = python(
        *("-m", "lsweep", "sweep", "sweep.toml", "--verbose", "--set", auto, "--max-points", "2"),
        cwd=tmp_path,
    )
    assert done.returncode in (0, 75), done.stderr
    chosen = read_identity(tmp_path / "out/sweep.h5")[0].get("points_at_once", 1)
    assert (chosen > 1) == (f"{chosen} points at once are the fastest here" in done.stderr)
    again = python("-m", "lsweep", "sweep", "sweep.toml", "--set", auto, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "fastest" not in again.stderr


@pytest.mark.parametrize(
    ("settings", "single"),
    [
        (("evaluate.precision=auto",), False),
        (("evaluate.precision=bf16",), True),
        (("evaluate.relative_error=0.5",), True),
        (("grid.x.num=5", "grid.y.num=5", "grid.refine.tolerance=0.1"), True),
    ],
    ids=["auto", "bf16", "subset", "refined"],
)
def test_auto_goes_with_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], single: bool
) -> None:
    """Where errors are estimated, or points are chosen one by one, points are evaluated one by one."""
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(choose, "_most_at_once", lambda *_: (4, None))
    read = config.load("sweep.toml", ["evaluate.points_at_once=auto", *settings])
    with setup.prepare(read, problem.build(read, SerialComm()), SerialComm(), None) as ready:
        assert ready.plan.tile == (1 if single else 4)
        assert single or ready.header.identity["precision"] == "fp32"
