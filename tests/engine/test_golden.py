"""The recorded surfaces of the paper's networks, through a configuration and the whole engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_surfaces import agree, axis, recorded, table

import lsweep
from lsweep import config
from lsweep.comm import SerialComm
from lsweep.engine import job

# File → points (j, i) or (i,) that show bowl, chaos, explosion and NaN; the rest is slow.
SOME: dict[str, list[tuple[int, ...]]] = {
    "resnet56_surface": [(2, 3), (1, 1)],
    "resnet56_noshort_surface": [(4, 3)],
    "resnet20_a_to_b": [(3,), (8,)],
    "resnet20_a_to_b_states": [(1,), (4,)],
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if "resnet56" in n else ()) for n in SOME]
)
def test_some_points(shared: Path, tmp_path: Path, name: str) -> None:
    truth = recorded(shared, name)
    for point in SOME[name]:
        places = dict(zip("xy", reversed(point), strict=False))
        grid = {key: axis(truth[key][index : index + 1]) for key, index in places.items()}
        output = tmp_path / f"{point}.h5"
        job.sweep(
            config.from_table(table(shared, name) | {"output": str(output), "grid": grid}), SerialComm()
        )
        surface = lsweep.open(output)
        agree(surface.loss.ravel()[0], surface.accuracy.ravel()[0], truth, point)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_all_points(shared: Path, tmp_path: Path, name: str) -> None:
    truth = recorded(shared, name)
    grid = {key: axis(truth[key]) for key in ("x", "y") if key in truth}
    made = config.from_table(table(shared, name) | {"output": str(tmp_path / "o.h5"), "grid": grid})
    assert job.sweep(made, SerialComm()).exit_status == 0
    surface = lsweep.open(tmp_path / "o.h5")
    for key in grid:
        np.testing.assert_allclose(surface.axes[key], truth[key], rtol=0, atol=1e-15)
    agree(surface.loss, surface.accuracy, truth)
    assert surface.complete and surface.done.all()


@pytest.mark.slow
def test_the_seed_gives_what_the_file_gives(shared: Path, tmp_path: Path) -> None:
    losses = []
    for directions in (table(shared, "resnet56_surface")["directions"], {"seed": 2018}):
        output = tmp_path / f"{len(losses)}.h5"
        grid = {"x": {"min": 0.5, "max": 0.5, "num": 1}, "y": {"min": -0.5, "max": -0.5, "num": 1}}
        settings = {"output": str(output), "grid": grid, "directions": directions}
        job.sweep(config.from_table(table(shared, "resnet56_surface") | settings), SerialComm())
        losses.append(lsweep.open(output).loss)
    assert np.array_equal(*losses)
