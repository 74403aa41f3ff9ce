"""Sweeps that an earlier version began: resumed as this sweep's own, and of the same identity to the letter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import begun
import h5py
import numpy as np
import pytest
import torch
from launch import TESTS

import lsweep
from lsweep import cli
from lsweep.evaluate.objective import mse
from lsweep.surface import Surface


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begun.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def identity(path: Path) -> str:
    with h5py.File(path) as file:
        return str(file.attrs["identity"])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "hessian" else ()) for n in begun.CASES]
)
def test_a_sweep_begun_by_an_earlier_version_is_resumed(name: str, here: Path) -> None:
    resumed, fresh = here / "resumed.h5", here / "fresh.h5"
    shutil.copy(TESTS / "golden" / "begun" / f"{name}.h5", resumed)
    before = lsweep.open(resumed)
    assert not before.complete and before.done.any()
    assert cli.main(begun.arguments(name, resumed)) == 0
    assert cli.main(begun.arguments(name, fresh)) == 0
    after, whole = lsweep.open(resumed), lsweep.open(fresh)
    assert after.complete and set(after.columns) == set(before.columns) == set(whole.columns)
    for metric, values in before.metrics.items():
        np.testing.assert_array_equal(after.metrics[metric][before.done], values[before.done])
        # Another kind of processor rounds otherwise, and where examples are sampled may take others of them.
        np.testing.assert_allclose(
            after.metrics[metric][both(after, whole)],
            whole.metrics[metric][both(after, whole)],
            rtol=0.2 if name == "low" else 1e-4,
            atol=1e-5,
        )
    assert identity(resumed) == identity(fresh)


def both(one: Surface, other: Surface) -> np.ndarray:
    return one.done & other.done


def test_a_loss_stored_under_its_old_module_is_this_loss(tmp_path: Path) -> None:
    output = tmp_path / "sweep.h5"
    model, data = torch.nn.Linear(3, 2), (torch.ones(4, 3), torch.zeros(4, 2))

    def sweep() -> Surface:
        surface = lsweep.sweep(model, data, loss=mse, grid=3, output=output)
        assert surface is not None
        return surface

    first = sweep()
    with h5py.File(output, "r+") as file:
        stored = json.loads(file.attrs["identity"])
        assert stored["loss"].startswith("lsweep.evaluate.objective.mse#")
        stored["loss"] = stored["loss"].replace("lsweep.evaluate.objective", "lsweep.objective")
        file.attrs["identity"] = json.dumps(stored)
    np.testing.assert_array_equal(sweep().loss, first.loss)
