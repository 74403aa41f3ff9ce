"""The command line under mpiexec: the same bits as one process, one line for a bad input, and nobody hangs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import project
import pytest
import torch
from launch import Job, mpi, need_mpi, need_parallel_hdf5, python

from lsweep.store.reader import read

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(240)]
BOTH = ["--set", 'data.split=["train","test"]', "--set", "data.test_path=test.npz"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    need_mpi()
    project.make(tmp_path)
    return tmp_path


def sweep(ranks: int, folder: Path, *arguments: str) -> Job:
    return mpi(ranks, "-m", "lsweep", "sweep", "sweep.toml", "--quiet", *arguments, cwd=folder, timeout=120)


def test_a_network_on_2_and_4_ranks(here: Path) -> None:
    """Both splits, a 5 × 3 grid; stopped half way on two ranks, resumed on four through another mode."""
    need_parallel_hdf5()
    done = python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", *BOTH, cwd=here)
    assert done.returncode == 0, done.stderr
    truth = read(here / "out/sweep.h5")
    assert truth.complete
    assert list(truth.metrics) == ["loss", "accuracy", "loss_test", "accuracy_test"]
    for ranks, mode in ((2, "gather"), (4, "mpio")):
        output = f"out/{ranks}.h5"
        more = ["--set", f"output={output}", "--set", f"store.mode={mode}", *BOTH]
        if ranks == 4:
            begun = [part.replace("=mpio", "=gather") for part in more]
            job = sweep(2, here, *begun, "--max-points", "7")
            assert job.process.returncode == 75, job.err
        job = sweep(ranks, here, *more)
        assert job.process.returncode == 0, job.err
        assert job.err == ""
        surface = read(here / output)
        assert surface.sessions[-1]["mode"] == mode
        for name, values in truth.metrics.items():
            assert surface.metrics[name].tobytes() == values.tobytes(), (ranks, name)
        if ranks == 2:
            assert set(np.unique(surface.rank)) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "grid.x.nun=3"], "unknown key 'grid.x.nun'"),  # before MPI is there
        (["--set", "model.weights=absent.pt"], "no weights file at 'absent.pt'"),  # on rank 0
        (["--set", "evaluate.device=abacus"], "unknown device 'abacus'"),  # on every rank
    ],
)
def test_one_line_for_a_bad_input(arguments: list[str], said: str, here: Path) -> None:
    job = sweep(2, here, *arguments)
    assert job.process.returncode == 2
    lines = [line for line in job.err.splitlines() if "lsweep: error:" in line]
    assert len(lines) == 1, job.err
    assert said in lines[0]
    assert "Traceback" not in job.err
    assert not list(here.rglob("*.h5*"))


FAULTS = {
    "exits": ("sys.exit(3)", 1, "SystemExit: 3"),
    "raises": ("raise ZeroDivisionError('set-up')", 2, "ZeroDivisionError: set-up"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_rank_that_fails_in_set_up_ends_the_job(fault: str, here: Path) -> None:
    statement, status, said = FAULTS[fault]
    (here / "net.py").write_text(
        "import os, sys\n"
        + project.NET.replace(
            "    return",
            f"    if os.environ['OMPI_COMM_WORLD_RANK'] == '2':\n        {statement}\n    return",
        )
    )
    job = Job(3, "-m", "lsweep", "sweep", "sweep.toml", cwd=here)
    assert job.wait(timeout=60) == status, job.err
    assert said in job.err


def test_an_objective_that_exits_on_one_rank(here: Path) -> None:
    """While the others evaluate: within ten seconds all are gone, and what was durable stays."""
    (here / "mine.py").write_text(
        "import os, sys, time\nfrom torch.nn.functional import cross_entropy\n\ncalls = []\n\n"
        "def objective(model, batch):\n    calls.append(time.time())\n"
        "    if len(calls) > 4 and os.environ['OMPI_COMM_WORLD_RANK'] == '1':\n"
        "        open('failed', 'w').write(str(time.time()))\n        sys.exit('enough')\n"
        "    return {'loss': cross_entropy(model(batch[0]), batch[1], reduction='none')}\n"
    )
    settings = ["--set", "evaluate.objective=mine.py:objective", "--set", "grid.x.num=101"]
    job = Job(2, "-m", "lsweep", "sweep", "sweep.toml", *settings, cwd=here)
    assert job.wait(timeout=60) == 1, job.err
    assert time.time() - float((here / "failed").read_text()) < 10
    assert "SystemExit: enough" in job.err
    surface = read(here / "out/sweep.h5")
    assert not surface.complete


def test_axes_and_ranges_from_a_trail_on_2_ranks(here: Path) -> None:
    """Rank 0 reads the checkpoints; all agree on axes, grid and path."""
    for k in range(4):
        torch.save(project.state(k), here / f"own_{k}.pt")
    config = (here / "sweep.toml").read_text().replace('weights = "net.pt"\n', "")
    grid = config[config.index("[grid]") : config.index("[evaluate]")]
    plane = '[directions]\nkind = "pca"\ntrail = ["own_*.pt"]\n[grid]\nx = {num = 4}\ny = {num = 3}\n'
    (here / "sweep.toml").write_text(config.replace(grid, plane))
    done = python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", cwd=here)
    assert done.returncode == 0, done.stderr
    job = sweep(2, here, "--set", "output=out/2.h5")
    assert job.process.returncode == 0, job.err
    one, two = read(here / "out/sweep.h5"), read(here / "out/2.h5")
    assert one.trajectory is not None and two.trajectory is not None
    assert one.x.tobytes() == two.x.tobytes() and one.loss.tobytes() == two.loss.tobytes()
    assert one.trajectory.coordinates.tobytes() == two.trajectory.coordinates.tobytes()
    # The same command on two ranks goes on with what one process made.
    assert sweep(2, here).process.returncode == 0


@pytest.mark.timeout(400)
def test_curvature_on_1_2_and_4_ranks(here: Path) -> None:
    """One process's bits, of points that two ranks began and four went on with; an axis is an eigenvector."""
    settings = ['evaluate.metrics=["hessian"]', "directions.x.kind=hessian", "grid.x.num=4"]
    curved = [part for setting in settings for part in ("--set", setting)]
    done = python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", *curved, cwd=here, timeout=120)
    assert done.returncode == 0, done.stderr
    truth = read(here / "out/sweep.h5")
    assert np.isfinite(truth.metrics["eig_min"]).all()
    curved += ["--set", "output=out/many.h5"]
    assert sweep(2, here, *curved, "--max-points", "6").process.returncode == 75
    job = sweep(4, here, *curved)
    assert job.process.returncode == 0, job.err
    surface = read(here / "out/many.h5")
    assert [session["ranks"] for session in surface.sessions] == [2, 4]
    for name, values in {**truth.metrics, **truth.curvature}.items():
        assert {**surface.metrics, **surface.curvature}[name].tobytes() == values.tobytes(), name
