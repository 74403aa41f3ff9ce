"""Training against plain torch loops, and its trail: the same bits however often it was interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import project
import pytest
import torch
from torch import nn

from lsweep import cli, config
from lsweep.config import TrainConfig
from lsweep.data import ResidentData
from lsweep.models import checkpoint, trail
from lsweep.store.reader import read as read_sweep
from lsweep.tools.lock import acquire
from lsweep.training import optimisers
from lsweep.training.batches import TrainingBatches

NET = """
from torch import nn

def make_net():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2),
                         nn.Flatten(), nn.Linear(64, 3))
"""

TABLE = """
[train]
trail = "out/trail"
epochs = 6
batch_size = 16
drops = [2, 4]
padding = 1
"""


@pytest.fixture
def here(tmp_path: Path, unlaunched: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a network to train, the working directory."""
    path = project.make(tmp_path)
    text = path.read_text().replace(
        'path = "train.npz"', 'path = "train.npz"\ntest_path = "test.npz"\nsplit = ["train", "test"]'
    )
    path.write_text(text.replace('weights = "net.pt"\n', "") + TABLE)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*pairs: str, quiet: bool = True) -> int:
    sets = [part for pair in pairs for part in ("--set", pair)]
    return cli.main(["train", "sweep.toml", *(["--quiet"] if quiet else []), *sets])


def contents(folder: Path) -> dict[str, bytes]:
    """The checkpoints and the epochs of the index; not the provenance, which has the time in it."""
    files = {p.name: p.read_bytes() for p in folder.glob("*.safetensors")}
    return {**files, "epochs": json.dumps(json.loads((folder / "trail.json").read_text())["epochs"]).encode()}


@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": False},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "adam", "lr": 0.01, "betas": [0.8, 0.99]},
    ],
)
def test_training_is_a_plain_torch_loop(here: Path, recipe: dict[str, object]) -> None:
    base = {"epochs": 3, "augment": "none", "drops": [1, 2], "seed": 5, **recipe}
    assert train(*(f"train.{key}={json.dumps(value)}" for key, value in base.items())) == 0

    archive = np.load("train.npz")
    images = torch.from_numpy(archive["images"]).permute(0, 3, 1, 2).float().div(255)
    labels = torch.from_numpy(archive["labels"])
    settings = config.load("sweep.toml", [f"train.{k}={json.dumps(v)}" for k, v in base.items()]).train
    assert settings is not None
    batches = TrainingBatches(ResidentData((torch.arange(40),)), settings)
    namespace: dict[str, object] = {}
    exec(NET.replace("0.2", "0.0"), namespace)  # dropout is another test's
    net = namespace["make_net"]()  # type: ignore[operator]
    checkpoint.fit(net, checkpoint.read("out/trail/epoch_0000.safetensors"), "start")
    rate = settings.lr
    if recipe["optimizer"] == "adam":
        optimiser: torch.optim.Optimizer = torch.optim.Adam(
            net.parameters(), lr=rate, betas=(0.8, 0.99), weight_decay=5e-4
        )
    else:
        optimiser = torch.optim.SGD(
            net.parameters(),
            lr=rate,
            momentum=settings.momentum,
            weight_decay=5e-4,
            nesterov=settings.nesterov and settings.momentum > 0,
        )
    (here / "net.py").write_text(NET.replace("0.2", "0.0"))
    assert train(*(f"train.{k}={json.dumps(v)}" for k, v in base.items()), "train.trail=out/still") == 0
    for epoch in range(3):
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.1**epoch
        for step in range(3):
            chosen = batches.batch(epoch, step)[0]
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimiser.step()
        state = checkpoint.read(f"out/still/epoch_{epoch + 1:04d}.safetensors")
        for name, tensor in net.state_dict().items():
            torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-7)
    lr = [epoch.lr for epoch in trail.read("out/still").epochs]
    assert lr == pytest.approx([rate, rate, 0.1 * rate, 0.01 * rate])


def test_the_same_seed_is_the_same_trail_and_another_is_not(here: Path) -> None:
    for name, more in (
        ("a", []),
        ("b", []),
        ("c", ["train.seed=1"]),
        ("d", ["train.seed=1", "train.init_seed=0"]),
    ):
        assert train(f"train.trail=out/{name}", *more) == 0
    a, b, c, d = (contents(here / "out" / name) for name in "abcd")
    assert a == b and set(a) == {"epochs", "resume_0006_000000.safetensors"} | {
        f"epoch_{i:04d}.safetensors" for i in range(7)
    }
    assert a["epoch_0000.safetensors"] == d["epoch_0000.safetensors"] != c["epoch_0000.safetensors"]
    assert a["epoch_0001.safetensors"] != d["epoch_0001.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_sigkill_at_any_time_and_resume_end_with_the_same_bits(here: Path, optimizer: str) -> None:
    """Eight lives, each killed a little later after its first checkpoint than the one before."""
    pairs = ["train.epochs=40", f"train.optimizer={optimizer}", "train.lr=0.01", "train.checkpoint_every=3"]
    assert train(*pairs, "train.trail=out/whole") == 0
    reached: list[int] = []
    for life in range(8):
        before = reached[-1] if reached else -1
        child = forked(lambda: train(*pairs))
        deadline = time.monotonic() + 60
        while last(here / "out/trail") <= before and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(0.004 * life)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        reached.append(last(here / "out/trail"))
    assert 0 <= reached[0] < 39 and reached == sorted(reached)
    assert train(*pairs) == 0
    assert contents(here / "out/trail") == contents(here / "out/whole")
    assert not list((here / "out/trail").glob(".*"))


def forked(work: Callable[[], int]) -> int:
    """Do the work in a child process, which need not import torch anew; its process id."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        status = work()
    finally:
        os._exit(status)


def last(folder: Path) -> int:
    return trail.read(folder).epochs[-1].number if trail.is_trail(folder) else -1


@pytest.mark.parametrize("stopped_after", [1, 4, 9])
def test_stopped_between_two_steps_and_resumed_is_as_if_nothing_was(
    here: Path, monkeypatch: pytest.MonkeyPatch, stopped_after: int
) -> None:
    """Also in the midst of an epoch, with dropout and augmentation."""
    assert train("train.trail=out/whole") == 0
    from lsweep.tools.stop import Stop

    asked = 0

    def due(self: Stop, seconds: float = 0.0) -> bool:
        nonlocal asked
        asked += 1
        if asked > stopped_after:
            self.request("enough")
        return bool(self.reason)

    with monkeypatch.context() as patch:
        patch.setattr(Stop, "due", due)
        assert train() == 75
    resume = trail.read("out/trail").resume
    assert resume is not None and (resume.epoch, resume.step) == divmod(stopped_after, 3)
    assert train() == 0
    assert contents(here / "out/trail") == contents(here / "out/whole")


@pytest.mark.slow
def test_a_signal_and_a_time_limit_stop_it(here: Path) -> None:
    child = forked(lambda: train("train.epochs=100000"))
    while last(here / "out/trail") < 1:
        time.sleep(0.005)
    os.kill(child, signal.SIGUSR2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 75
    limited = ["train", "sweep.toml", "--quiet", "--set", "train.epochs=100000", "--time-limit"]
    assert cli.main([*limited, "1"]) == 75
    assert cli.main([*limited, "0"]) == 1  # not a single step: a job that resubmits itself must end
    assert not (here / "out/trail.lock").exists()


def test_a_loss_that_becomes_nan_ends_it_with_the_last_good_checkpoint(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "net.py").write_text(NET.replace("nn.BatchNorm2d(4), ", ""))
    assert train("train.lr=1e18", "train.drops=[]") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "training diverged in epoch 1" in err and "up to epoch 0" in err
    found = trail.read("out/trail")
    assert [epoch.number for epoch in found.checkpoints] == [0]
    state = checkpoint.read("out/trail")
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_the_trail_says_what_a_sweep_finds_there(here: Path) -> None:
    assert train("train.augment=none") == 0
    found = trail.read("out/trail")
    assert [epoch.number for epoch in found.epochs] == list(range(7))
    for number in (0, 4, 6):
        pairs = [f'model.weights="out/trail/epoch_{number:04d}.safetensors"', f"output=out/{number}.h5"]
        if number == 6:
            pairs[0] = 'model.weights="out/trail"'  # the last checkpoint
        pairs.append("grid={x={min=0, max=0, num=1}}")
        assert (
            cli.main(["sweep", "sweep.toml", "--quiet", *[p for pair in pairs for p in ("--set", pair)]]) == 0
        )
        surface = read_sweep(here / f"out/{number}.h5")
        for name in ("loss", "accuracy", "loss_test", "accuracy_test"):
            assert surface.metrics[name][0] == pytest.approx(found.epochs[number].values[name], rel=1e-6)


def test_epochs_are_kept_as_often_as_asked_and_the_last_one_always(here: Path) -> None:
    assert train("train.checkpoint_every=4", "train.evaluate_every=2") == 0
    found = trail.read("out/trail")
    assert [epoch.number for epoch in found.checkpoints] == [0, 4, 6]
    assert ["loss" in epoch.values for epoch in found.epochs] == [True, False, True, False, True, False, True]
    assert all("running_loss" in epoch.values for epoch in found.epochs[1:])
    # More epochs are a longer training, not another.
    assert train("train.checkpoint_every=4", "train.evaluate_every=2", "train.epochs=8") == 0
    assert [epoch.number for epoch in trail.read("out/trail").checkpoints] == [0, 4, 6, 8]


def test_a_batch_larger_than_the_data_is_all_of_them(here: Path) -> None:
    assert train("train.batch_size=8192", "train.augment=none", "train.epochs=2") == 0
    assert train("train.batch_size=40", "train.augment=none", "train.epochs=2", "train.trail=out/b") == 0
    one, other = contents(here / "out/trail"), contents(here / "out/b")
    assert one["epoch_0002.safetensors"] == other["epoch_0002.safetensors"]


def test_pieces_of_a_batch_have_its_gradient(here: Path) -> None:
    (here / "net.py").write_text(NET.replace("nn.BatchNorm2d(4), ", "").replace("nn.Dropout(0.2),", ""))
    assert train("train.batch_size=40", "train.epochs=2") == 0
    assert train("train.batch_size=40", "train.epochs=2", "train.micro_batch=7", "train.trail=out/b") == 0
    whole, pieces = checkpoint.read("out/trail"), checkpoint.read("out/b")
    assert all(torch.allclose(whole[name], pieces[name], rtol=1e-4, atol=1e-6) for name in whole)


@pytest.mark.parametrize(
    "pair, complaint",
    [
        ("train.lr=0.2", "its lr is 0.1, this one's is 0.2"),
        ("train.batch_size=8", "its batch_size is 16, this one's is 8"),
        ("train.drops=[3]", "its drops is [2, 4], this one's is [3]"),
        ("train.label_noise=0.5", "its label_noise is 0.0, this one's is 0.5"),
        ("train.init_seed=4", "its weights is"),
        ("data.limit=20", "its data.train is"),
    ],
)
def test_another_training_at_the_same_place_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], pair: str, complaint: str
) -> None:
    assert train("train.epochs=1") == 0
    before = contents(here / "out/trail")
    assert train(pair) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "is another training" in err and complaint in err
    assert contents(here / "out/trail") == before


@pytest.mark.parametrize(
    "pair, complaint",
    [
        ("train.epoch=3", "unknown key 'train.epoch' (did you mean 'epochs'?)"),
        ("train.optimizer=sdg", "train.optimizer must be one of sgd, adam"),
        ("train.batch_size=0", "train.batch_size must be >= 1, got 0"),
        ("train.label_noise=1.5", "train.label_noise must be in [0, 1]"),
        ("train.start=nowhere.pt", "no weights file at 'nowhere.pt'"),
        ("data.split=test", 'training needs "train" in data.split'),
        ("train.trail=.", "and no trail.json; name an empty or a new one"),
        ("train.trail=net.py/x", "cannot create the folder"),
        ("train.betas=[0.9]", "train.betas must be two numbers"),
    ],
)
def test_bad_input_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], pair: str, complaint: str
) -> None:
    (here / "net.pt").unlink()
    assert train(pair) == 2
    err = capsys.readouterr().err
    assert err.startswith("lsweep: error: ") and err.count("\n") == 1 and complaint in err, err
    assert "Traceback" not in err


def test_a_trail_that_another_run_writes_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "out").mkdir()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    lock = acquire(here / "out/trail")
    holder = json.loads((here / "out/trail.lock").read_text())
    holder |= {"pid": sleeper.pid, "started": "", "host": "elsewhere", "token": "theirs"}
    (here / "out/trail.lock").write_text(json.dumps(holder))
    try:
        assert train() == 2
        assert "is being written by process" in capsys.readouterr().err
        assert cli.main(["train", "sweep.toml", "--quiet", "--break-lock"]) == 0
    finally:
        sleeper.kill()
        lock.release()


def test_a_damaged_index_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("train.epochs=1") == 0
    index = here / "out/trail/trail.json"
    good = index.read_text()
    for bad in (
        good[:-20],
        good.replace('"epoch_0000', '"../epoch_0000'),
        "[]",
        good.replace("lsweep trail", "x"),
    ):
        index.write_text(bad)
        assert train("train.epochs=1") == 2
        err = capsys.readouterr().err
        assert "trail.json' is damaged" in err and err.count("\n") == 1


def test_learning_rates_of_the_paper() -> None:
    paper = TrainConfig()
    assert (paper.lr, paper.momentum, paper.weight_decay, paper.batch_size, paper.epochs) == (
        0.1,
        0.9,
        5e-4,
        128,
        300,
    )
    rates = [optimisers.learning_rate(paper, epoch) for epoch in (1, 150, 151, 225, 226, 275, 276, 300)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4])


def test_an_optimiser_state_of_another_network_is_refused() -> None:
    settings = TrainConfig()
    one, other = nn.Linear(3, 2), nn.Linear(4, 2)
    optimiser = optimisers.make(settings, one.parameters())
    one(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    with pytest.raises(Exception, match="has shape"):
        optimisers.restore(
            optimisers.make(settings, other.parameters()), optimisers.state_tensors(optimiser), "f"
        )


def test_several_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many trainings are a job array; one training on several ranks would be the same one several times."""
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert train() == 2
    assert "runs in one process, but 4 tasks were requested" in capsys.readouterr().err
