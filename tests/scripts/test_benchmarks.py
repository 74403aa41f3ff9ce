"""The benchmarks at a size that measures nothing: each writes its JSON, and the model and the figures come of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import project
import pytest
from launch import ROOT, absent, need_mpi, need_parallel_hdf5, python

SCRIPTS = ROOT / "scripts" / "benchmarks"
pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(600)]


def run(name: str, output: Path, *arguments: object) -> dict[str, Any]:
    done = python(SCRIPTS / f"{name}.py", "--output", output, *arguments, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(output.read_text())
    assert found["environment"]["cores"] == os.cpu_count()
    return found


@pytest.fixture
def here(tmp_path: Path) -> tuple[Path, list[str]]:
    """A small project, and its configuration's words from wherever a benchmark runs."""
    need_parallel_hdf5()
    path = project.make(tmp_path)
    files = {"model.source": "net.py:make_net", "model.weights": "net.pt", "data.path": "train.npz"}
    sets = [f"{key}={tmp_path / file}" for key, file in files.items()]
    return tmp_path, [str(path), *(word for setting in sets for word in ("--set", setting))]


def test_all_of_them(here: tuple[Path, list[str]]) -> None:
    need_mpi()
    folder, config = here
    if len(os.sched_getaffinity(0)) < 2:
        absent("there is one core only, so nothing can be pinned to a second one")
    store = run(
        "bench_store", folder / "store.json", "--rounds", 1, "--ranks", 1, 2, "--batches", 8, "--batch", 1, 50
    )
    assert {(r["mode"], r["ranks"], r["batch"]) for r in store["rates"]} == {
        (mode, ranks, batch) for mode in ("memory", "gather", "mpio") for ranks in (1, 2) for batch in (1, 50)
    }
    assert all(r["points_per_s"]["least"] > 0 for r in store["rates"])

    options = ["--rounds", 1, "--ranks", 1, 3, "--points", 8, "--null", 50, "--tickets", 50]
    options += ["--kinds", "dynamic"]
    scheduler = run("bench_scheduler", folder / "scheduler.json", *options)
    timed = [row for row in scheduler["rows"] if row["seconds"]]
    assert len(timed) == 4
    assert all(row["wall"] >= 8 * 0.1 and 0 < row["overhead_beyond_points"] < 1 for row in timed)
    assert all(0 < row["processor"] < 0.1 for row in timed if row["naps"])

    scaling = run("bench_scaling", folder / "scaling.json", *config, "--rounds", 1, "--grid", 4, 2)
    (two,) = scaling["efficiency"]
    assert two["ranks"] == 2 and two["efficiency"]["median"] > 0
    assert [len(row.get("seconds", [])) for row in scaling["rows"]] == [8, 8, 0]

    startup = run("bench_startup", folder / "startup.json", *config, "--rounds", 1)
    assert startup["commands"]["empty python"]["median"] < startup["commands"]["import torch"]["median"]
    for row in startup["sweep_to_first_point"]:
        assert 0 < row["profile"]["importing modules"] < row["seconds"]["median"]

    small = ["--input", folder, "--side", 21, "--ranks", 1, 8, "--point-seconds", 0.1]
    scale = run("model_scale", folder / "scale.json", *small)
    assert all(0 < row["efficiency_with_start"] < row["efficiency"] <= 1 for row in scale["curves"])
    # Much is by chance at this size; but it must not be another order of magnitude.
    for row in scale["against_measured"]:
        assert 0 < row["modelled"] < row["measured"] + 0.2

    drawn = python(SCRIPTS.parent / "figures" / "plot_bench.py", "--folder", folder)
    assert drawn.returncode == 0, drawn.stderr
    assert {path.stem for path in folder.glob("*.png")} == {
        "store",
        "scheduler",
        "scaling",
        "startup",
        "scale",
    }


def test_a_benchmark_that_is_not_there_yet(tmp_path: Path) -> None:
    done = python(SCRIPTS / "model_scale.py", "--input", tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}/store.json is not there: run scripts/benchmarks/bench_store.py first\n"
