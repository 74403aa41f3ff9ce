"""The command line: every bad input is one clear line and status 2, and what is there already stays as it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import project
import pytest
import torch
from launch import environment, need_parallel_hdf5, python

import lsweep
from lsweep import cli, comm, models
from lsweep.tools import lock
from lsweep.tools.lock import acquire


@pytest.fixture
def here(tmp_path: Path, unlaunched: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, the working directory."""
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(*arguments: str, quiet: bool = True) -> int:
    return cli.main(["sweep", "sweep.toml", *(["--quiet"] if quiet else []), *arguments])


def sets(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


def files(folder: Path) -> dict[str, bytes]:
    """Everything below `folder` that a sweep could have written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def save(name: str, content: Callable[[], object]) -> Callable[[Path], None]:
    return lambda folder: torch.save(content(), folder / name)


def changed(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The project's weights with some tensors replaced, added or (None) left out; "_" stands for "."."""
    state = project.state() | {k.replace("_", "."): v for k, v in changes.items() if v is not None}
    for name in (k.replace("_", ".") for k, v in changes.items() if v is None):
        del state[name]
    return state


class Evil:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("i_was_here",))


def bad_directions(folder: Path) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        for axis in "xy":
            for index, tensor in enumerate([(6, 16), (6,), (4, 6), (3,)]):
                file[f"{axis}direction/{index}"] = np.zeros(tensor, "<f4")


def nothing(folder: Path) -> None:
    pass


# What is wrong: (how the project is changed, arguments, what the line must say).
BAD: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "unknown key": (nothing, sets("grid.x.nun=3"), "unknown key 'grid.x.nun' (did you mean 'num'?)"),
    "unknown table": (nothing, sets("grids.x=3"), "unknown key 'grids' (did you mean 'grid'?)"),
    "wrong type": (nothing, sets("data.limit='many'"), "data.limit must be an integer, got 'many'"),
    "wrong type of table": (nothing, sets("grid=3"), "grid must be a table"),
    "num < 1": (nothing, sets("grid.x.num=0"), "num >= 1, got num = 0"),
    "min > max": (nothing, sets("grid.y.min=2"), "min <= max, got min = 2.0 > max = 1.0"),
    "bounds not finite": (nothing, sets("grid.y.max=inf"), "finite bounds"),
    "no TOML": (write("sweep.toml", "output = "), [], "is not valid TOML"),
    "no configuration": (lambda f: (f / "sweep.toml").unlink(), [], "cannot read the configuration"),
    "an override without =": (nothing, sets("grid.x.num"), "an override is KEY=VALUE"),
    "no weights file": (nothing, sets("model.weights=absent.pt"), "no weights file at 'absent.pt'"),
    "weights lack a key": (save("net.pt", lambda: changed(**{"3_bias": None})), [], "missing: 3.bias"),
    "weights with another key": (save("net.pt", lambda: changed(a_b=torch.ones(1))), [], "unexpected: a.b"),
    "misshapen weights": (
        save("net.pt", lambda: changed(**{"3_weight": torch.zeros(4, 6)})),
        [],
        "misshapen: 3.weight (4, 6) instead of (3, 6)",
    ),
    "corrupt checkpoint": (write("net.pt", "no checkpoint at all"), [], "'net.pt' "),
    "truncated checkpoint": (
        lambda f: (f / "net.pt").write_bytes((f / "net.pt").read_bytes()[:700]),
        [],
        "not a readable checkpoint",
    ),
    "empty checkpoint": (write("net.pt", ""), [], "not a readable checkpoint"),
    "corrupt safetensors": (
        write("net.safetensors", "x" * 100),
        sets("model.weights=net.safetensors"),
        "not a readable checkpoint",
    ),
    "pickle beyond tensors": (save("net.pt", lambda: {"a": Evil()}), [], "needs pickle beyond tensors"),
    "no state dict": (save("net.pt", lambda: [1, 2]), [], "contains no state dict"),
    "images and labels differ": (
        lambda f: project.write_npz(f / "train.npz", images=40, labels=39),
        [],
        "40 images, but 39 labels",
    ),
    "images do not fit a convolution with BatchNorm": (
        save("r20.pt", lambda: models.build("resnet20").state_dict()),
        sets("model.source=resnet20", "model.weights=r20.pt"),
        "the network cannot take a batch of this data, input (40, 1, 4, 4)",
    ),
    "labels outside the outputs": (
        lambda f: project.write_npz(f / "train.npz", classes=7),
        [],
        "labels run from 0 to 6, but the network has 3 outputs",
    ),
    "images do not fit": (
        lambda f: np.savez(f / "train.npz", images=np.zeros((4, 5, 5, 1), "u1"), labels=np.zeros(4, int)),
        [],
        "the network cannot take a batch of this data",
    ),
    "no data": (nothing, sets("data.path=absent_*.npz"), "no file matches 'absent_*.npz'"),
    "second split without a path": (nothing, sets('data.split=["train","test"]'), "data.test_path must name"),
    "output is a folder": (nothing, sets("output=."), "is a folder"),
    "output below a file": (nothing, sets("output=net.py/a.h5"), "cannot write to the folder 'net.py'"),
    "output is no HDF5": (nothing, sets("output=net.py"), "is not a readable HDF5 file"),
    "unknown mode": (nothing, sets("store.mode=fast"), "one of auto, mpio, gather; got 'fast'"),
    "directions do not fit": (
        bad_directions,
        sets("directions.kind=file", "directions.path=d.h5"),
        "tensor 2 has shape (4, 6), 3.weight has (3, 6)",
    ),
    "directions without a path": (nothing, sets("directions.kind=file"), "needs directions.path"),
    "no directions file": (nothing, sets("directions.kind=file", "directions.path=n.h5"), "no file at 'n.h5'"),
    "target does not fit": (
        save("to.pt", lambda: changed(**{"3_bias": None})),
        sets("directions.kind=interpolate", "directions.to=to.pt", "directions.to_y=to.pt"),
        "'to.pt' does not fit the network; missing: 3.bias",
    ),
    "target for one axis only": (
        save("to.pt", project.state),
        sets("directions.kind=interpolate", "directions.to=to.pt"),
        "needs directions.to_y",
    ),
    "unknown network": (nothing, sets("model.source=resnet57"), "did you mean 'resnet5"),
    "unknown network, nothing near": (nothing, sets("model.source=zzz"), "valid: densenet121,"),
    "network file without factory": (nothing, sets("model.source=net.py:made"), "there is no 'made' in it"),
    "no network file": (nothing, sets("model.source=nets.py:make"), "cannot read 'nets.py'"),
    "network that exits": (write("net.py", "raise SystemExit(0)"), [], "importing 'net.py' failed"),
    "network that raises": (write("net.py", "def make_net(): return 1/0"), [], "ZeroDivisionError"),
    "network that is none": (write("net.py", "def make_net(): return 7"), [], "must return a torch.nn.Module"),
    "unknown device": (nothing, sets("evaluate.device=abacus"), "unknown device 'abacus' (valid: auto, cpu, cuda"),
    "absent device": (nothing, sets("evaluate.device=cuda:99"), "torch sees"),
    "unknown metric": (nothing, sets('evaluate.metrics=["f1"]'), "unknown metric 'f1'; loss and accuracy"),
    "metric of a taken name": (
        write("m.py", "def f(output, target): return output[:, 0]"),
        sets('evaluate.metrics=["status = m.py:f"]'),
        "a metric cannot be called 'status'",
    ),
    "unknown loss": (nothing, sets("evaluate.loss=cross"), "unknown loss 'cross'"),
    "unknown precision": (nothing, sets("evaluate.precision=fp8"), "bf16, fp16, auto; got 'fp8'"),
    "a tolerance of 0": (
        nothing,
        sets("grid.refine.tolerance=0.0"),
        "grid.refine: tolerance must be > 0 and < 1, got 0.0",
    ),
    "a tolerance in words": (nothing, sets("grid.refine=yes"), "grid.refine must be a table, got 'yes'"),
    "a level below 0": (nothing, sets("grid.refine.levels=[1.0, -1.0]"), "levels must be losses"),
    "--max-points 0": (nothing, ["--max-points", "0"], "--max-points must be >= 1"),
    "--seeds of words": (nothing, ["--seeds", "all"], "--seeds takes numbers and ranges"),
    "--seeds backwards": (nothing, ["--seeds", "4-0"], "--seeds"),
    "--time-limit of words": (nothing, ["--time-limit", "soon"], "a time limit is"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line(what: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepare, arguments, said = BAD[what]
    prepare(here)
    before = files(here)
    assert sweep(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("lsweep: error: "), err
    assert len(err.splitlines()) == 1, err
    assert said in err
    assert files(here) == before
    assert not (here / "i_was_here").exists()


def test_dropout_left_on_is_named(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "net.py").write_text(
        "from torch import nn\n\nclass AlwaysOn(nn.Module):\n"
        "    def forward(self, x): return nn.functional.dropout(x, 0.5, True)\n\n"
        "def make_net(): return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), AlwaysOn(), nn.Linear(6, 3))\n"
    )
    torch.save(project.state(), here / "net.pt")
    assert sweep() == 2
    assert "2 (AlwaysOn) is random" in capfd.readouterr().err


def test_output_folder_not_writable(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(*sets("output=/proc/sweep.h5")) == 2
    assert "cannot write to the folder '/proc'" in capsys.readouterr().err


def test_mpio_without_a_parallel_h5py(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Config:
        mpi = False

    monkeypatch.setattr(h5py, "get_config", Config)
    assert sweep(*sets("store.mode=mpio")) == 2
    assert "needs an h5py built with MPI, and this one is not" in capsys.readouterr().err


@pytest.mark.mpi
@pytest.mark.slow
def test_mpio_in_one_process(here: Path) -> None:
    """Asked for by name, MPI is started even without a launcher."""
    need_parallel_hdf5()
    done = command("sweep", "sweep.toml", "--set", "store.mode=mpio", cwd=here)
    assert done.returncode == 0, done.stderr
    surface = lsweep.open(here / "out/sweep.h5")
    assert surface.complete
    assert [s["mode"] for s in surface.sessions] == ["mpio"]
    assert sweep(*sets("output=gather.h5")) == 0
    assert lsweep.open("gather.h5").loss.tobytes() == surface.loss.tobytes()


ANOTHER = {
    "grid": (nothing, sets("grid.x.max=2.0"), "axes.x"),
    "seed": (nothing, sets("directions.seed=1"), "directions.x"),
    "normalisation": (nothing, sets("directions.normalize=layer"), "directions.x"),
    "weights": (save("net.pt", lambda: project.state(1)), [], "weights"),
    "data": (nothing, sets("data.limit=20"), "data.train"),
    "statistics of the data": (nothing, sets("data.mean=[0.5]"), "data.train"),
    "split": (nothing, sets('data.split=["train","test"]', "data.test_path=test.npz"), "data.test"),
    "loss": (nothing, sets("evaluate.loss=mse_softmax"), "loss"),
    "precision": (nothing, sets("evaluate.precision=fp64"), "precision"),
    "batch size": (nothing, sets("evaluate.batch_size=7"), "batch_size"),
}


@pytest.mark.parametrize("what", ANOTHER)
def test_the_output_of_another_sweep_is_kept(
    what: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sweep("--max-points", "4") == 75
    capfd.readouterr()
    prepare, arguments, field = ANOTHER[what]
    prepare(here)
    before = files(here)
    assert sweep(*arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(rf"is another sweep: its {re.escape(field)} is .+, this one's is .+;", line), line
    assert files(here) == before


def test_another_programs_output_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(here / "other.h5", "w") as file:
        file["loss"] = np.zeros(3)
    before = files(here)
    assert sweep(*sets("output=other.h5")) == 2
    assert "is an HDF5 file, but not one that lsweep wrote" in capsys.readouterr().err
    assert files(here) == before


def test_two_sweeps_on_one_file(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    assert sweep("--max-points", "4") == 75
    held = acquire(here / "out/sweep.h5")
    before = files(here)
    assert sweep() == 2
    assert f"is being written by process {os.getpid()} on" in capsys.readouterr().err
    assert files(here) == before
    assert sweep("--break-lock") == 0
    held.release()
    assert not (here / "out/sweep.h5.lock").exists()


def test_a_whole_sweep_and_its_status(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep() == 0
    surface = lsweep.open("out/sweep.h5")
    assert surface.complete
    assert surface.shape == (3, 5)
    assert "num = 5" in surface.config
    assert surface.provenance["ranks"] == 1
    assert [p.name for p in (here / "out").iterdir()] == ["sweep.h5"]
    before = files(here)
    assert sweep() == 0  # nothing to do
    assert files(here).keys() == before.keys()
    again = lsweep.open("out/sweep.h5")
    assert again.loss.tobytes() == surface.loss.tobytes()
    capsys.readouterr()
    assert cli.main(["status", "out/sweep.h5"]) == 0
    out = capsys.readouterr().out
    assert "x 5 × y 3 = 15 points" in out
    assert "done      15 (100.0 %)" in out
    assert len(re.findall(r"^  session ", out, re.M)) == 2
    index = np.unravel_index(np.argmin(surface.loss), (3, 5))
    assert (
        f"loss {surface.loss[index]:.6g} at x = {surface.x[index[1]]:g}, y = {surface.y[index[0]]:g}" in out
    )


@pytest.mark.slow
def test_stopped_and_resumed_is_uninterrupted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(*sets("output=whole.h5")) == 0
    assert sweep("--max-points", "4") == 75
    capsys.readouterr()
    assert cli.main(["status", "out/sweep.h5"]) == 0
    assert "pending   11" in capsys.readouterr().out
    for left in (7, 3, 0):
        assert sweep("--max-points", "4") == (75 if left else 0)
        assert (lsweep.open("out/sweep.h5").status == 0).sum() == left
    whole, parts = lsweep.open("whole.h5"), lsweep.open("out/sweep.h5")
    for name in whole.metrics:
        assert whole.metrics[name].tobytes() == parts.metrics[name].tobytes()
    assert [s["points"] for s in parts.sessions] == [4, 4, 4, 3]


def test_seeds_make_files(here: Path) -> None:
    assert sweep("--seeds", "0-1,3", *sets("grid.x.num=3", "data.limit=10")) == 0
    assert sorted(p.name for p in (here / "out").iterdir()) == [f"sweep_seed{n}.h5" for n in (0, 1, 3)]
    surfaces = [lsweep.open(f"out/sweep_seed{n}.h5") for n in (0, 1, 3)]
    assert len({s.loss.tobytes() for s in surfaces}) == 3
    assert len({s.loss[1, 1] for s in surfaces}) > 1
    assert all(s.shape == (3, 3) for s in surfaces)


def test_one_time_limit_for_all_seeds(here: Path) -> None:
    """A limit that leaves no time stops before the first point: status 1, as nothing was gained."""
    assert sweep("--seeds", "0-4", "--time-limit", "0") == 1
    assert [p.name for p in (here / "out").iterdir()] == ["sweep_seed0.h5"]


def test_failed_points_give_3_and_are_tried_again(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "net.py").write_text(
        project.NET.replace("return nn", "net = nn")
        + "    net.register_forward_hook(fail)\n    return net\n\n"
        + "import os\ncalls = []\n\ndef fail(module, inputs, output):\n"
        + "    if os.path.exists('fail') and float(module[1].weight.detach().abs().max()) > 4.2:\n"
        + "        raise ValueError('too far')\n"
    )
    (here / "fail").touch()
    settings = sets("evaluate.max_failures=14")
    assert sweep(*settings, quiet=False) == 3
    surface = lsweep.open("out/sweep.h5")
    failed = surface.status == 2
    assert 0 < failed.sum() < 15
    assert np.isnan(surface.loss[failed]).all()
    err = capfd.readouterr().err
    assert "failed: ValueError: too far" in err
    assert f"{failed.sum()} failed (--retry-failed tries again)" in err
    (here / "fail").unlink()
    assert sweep(*settings) == 3
    assert sweep("--retry-failed", *settings) == 0
    assert lsweep.open("out/sweep.h5").done.all()
    (here / "fail").touch()
    assert sweep(*sets("output=many.h5", "evaluate.max_failures=0")) == 1
    err = capfd.readouterr().err
    assert "PointError" in err
    assert "max_failures = 0" in err
    assert not (here / "many.h5.lock").exists()


def test_a_failing_centre_ends_it(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "net.py").write_text(
        project.NET.replace("return nn", "net = nn")
        + "    net.register_forward_hook(fail)\n    return net\n\ncalls = []\n\n"
        + "def fail(module, inputs, output):\n    calls.append(1)\n    if len(calls) > 6: raise ValueError('no')\n"
    )
    assert sweep(*sets("grid.x.num=1", "grid.x.min=0", "grid.x.max=0", "grid.y.num=1", "grid.y.min=0",
                       "grid.y.max=0", "data.limit=1000", "evaluate.batch_size=5")) == 1  # fmt: skip
    assert "the centre (0, 0) cannot be evaluated: ValueError: no" in capfd.readouterr().err


@pytest.mark.slow
def test_a_user_s_dataset_and_torchvision(here: Path) -> None:
    """A ResNet-18 with random weights, 64×64 random images from the user's own file."""
    pytest.importorskip("torchvision")
    (here / "images.py").write_text(
        "import torch\n\ndef random_images(split):\n"
        "    dice = torch.Generator().manual_seed(len(split))\n"
        "    return torch.randn(6, 3, 64, 64, generator=dice), torch.arange(6)\n"
    )
    text = (
        (here / "sweep.toml")
        .read_text()
        .replace('weights = "net.pt"\n', "")
        .replace('path = "train.npz"\n', "")
    )
    (here / "sweep.toml").write_text(text)
    settings = sets("model.source=torchvision:resnet18", "data.source=images.py:random_images")
    settings += sets(
        'data.split=["train","test"]', "grid.x.num=3", "grid.y.num=1", "grid.y.min=0", "grid.y.max=0"
    )
    status = sweep(*settings)
    assert status == 0
    surface = lsweep.open("out/sweep.h5")
    assert np.isfinite(surface.loss).all()
    assert list(surface.metrics) == ["loss", "accuracy", "loss_test", "accuracy_test"]
    assert surface.loss[0, 1] != surface.loss[0, 0]
    assert "resnet18" in surface.config


def test_slurm_tasks_without_a_launcher(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks were requested and this is one process: an error, not two silent duplicates."""
    monkeypatch.setenv("SLURM_NTASKS", "2")
    before = files(here)
    assert sweep() == 2
    err = capsys.readouterr().err
    assert "2 tasks were requested, but MPI connects no other process" in err
    assert "srun --mpi=pmix" in err
    assert files(here) == before


def test_only_rank_0_says_what_all_ranks_meet(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert comm.rank_hint() == 1
    assert sweep() == 2
    assert capsys.readouterr().err == ""
    assert naps  # so that rank 0 can speak before the launcher ends it


# In processes of their own ---------------------------------------------------------------------------


def command(*arguments: object, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return python("-m", "lsweep", *arguments, cwd=cwd, timeout=timeout)


def test_help_is_quick_and_complete(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lsweep.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as leaving:\n    assert leaving.code == 0\n"
        "heavy = {'torch', 'mpi4py', 'h5py', 'matplotlib', 'vtkmodules', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for verb in ("sweep", "status", "render", "export"):
        assert re.search(rf"^ +{verb} ", done.stdout, re.M), done.stdout


def test_bad_usage_is_status_2(tmp_path: Path) -> None:
    done = command("sweeep", cwd=tmp_path)
    assert done.returncode == 2
    assert "invalid choice: 'sweeep'" in done.stderr
    done = command("status", "absent.h5", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "lsweep: error: no file at 'absent.h5'\n")


WITHOUT = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
from lsweep.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_without_torch_and_mpi_readers_work(here: Path) -> None:
    assert sweep("--max-points", "9") == 75

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        code = WITHOUT.format(blocked=["torch", "torchvision", "mpi4py", "scipy", "sklearn"])
        return python("-c", code, *arguments, cwd=here)

    done = run("sweep", "sweep.toml")
    assert done.returncode == 2
    assert done.stderr == "lsweep: error: sweeping needs torch: pip install '.[torch]' in lsweep's clone\n"
    done = run("status", "out/sweep.h5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pending   6" in done.stdout
    done = run("render", "out/sweep.h5", "-o", "figure.png")
    assert done.returncode == 0, done.stderr
    assert (here / "figure.png").stat().st_size > 1000
    done = run("export", "out/sweep.h5")
    assert done.returncode == 0, done.stderr
    assert list(here.rglob("*.vts"))


def test_without_mpi4py_one_process_sweeps(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert sweep() == 0
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "0")
    assert sweep() == 2
    err = capsys.readouterr().err
    assert "2 processes were started, but MPI cannot be used" in err
    assert "pip install '.[mpi]'" in err


SLOW = """
import time
from pathlib import Path
from torch import nn

def nap(module, inputs, output):
    time.sleep(0.05)

def make_net():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    net.register_forward_hook(nap)
    return net
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_stops_between_points(number: signal.Signals, here: Path) -> None:
    (here / "net.py").write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, "-m", "lsweep", "sweep", "sweep.toml", "--quiet",
         *sets("grid.x.num=41", "store.sync_seconds=0")],
        cwd=here, env=environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        output, end = here / "out/sweep.h5", time.monotonic() + 60
        while time.monotonic() < end and not (output.exists() and lsweep.open(output).done.sum() > 3):
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 75, err
    assert f"stopped: received {number.name}" in err
    assert "Traceback" not in err
    done = int(lsweep.open(output).done.sum())
    assert 3 < done < 123
    assert not output.with_name("sweep.h5.lock").exists()
    assert sweep("--max-points", "1", *sets("grid.x.num=41")) == 75
    assert int(lsweep.open(output).done.sum()) == done + 1


def test_a_refined_sweep_and_its_completion(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = sets(
        "grid={x={min=-0.3, max=0.3, num=65}, refine={tolerance=0.05, levels=[1.0]}}", "store.mode=gather"
    )
    assert sweep(*settings, quiet=False) == 0
    err = capfd.readouterr().err
    before = lsweep.open(here / "out/sweep.h5")
    done, settled = int(before.done.sum()), int(before.settled.sum())
    assert done + settled == 65 and settled > 5
    assert f"{done} points done, {settled} settled by interpolation (--complete evaluates them)" in err
    assert cli.main(["status", "out/sweep.h5"]) == 0
    assert f"  settled   {settled} (" in capfd.readouterr().out
    assert sweep(*settings, "--complete") == 0
    after = lsweep.open(here / "out/sweep.h5")
    assert after.done.all()
    np.testing.assert_array_equal(after.loss[before.done], before.loss[before.done])
    np.testing.assert_allclose(before.filled(), after.loss, rtol=0.05)
    assert cli.main(["render", "out/sweep.h5", "--show-evaluated", "-o", "line.png"]) == 0
    assert (here / "line.png").exists()
