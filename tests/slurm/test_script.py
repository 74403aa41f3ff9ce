"""`lsweep slurm`: the script's text, the lead of its signal, and that nothing bad gets into it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import launch
import numpy as np
import project
import pytest
from launch import ROOT, TESTS

import lsweep
from lsweep import cli
from lsweep.comm import SerialComm
from lsweep.config import load
from lsweep.engine.job import Options, sweep
from lsweep.slurm import cli as verb
from lsweep.slurm import header, lead_time
from lsweep.store.reader import read_identity
from lsweep.tools.stop import MARGIN

TEMPLATES = ROOT / "slurm"
# Golden file → the arguments that make it.
GOLDEN = {
    "srun": """sweep.toml --account proj1 --partition gpu --qos normal --constraint a100&nvlink --time 04:00:00
        --nodes 2 --gpus-per-node a100:4 --cpus-per-task 8 --mem 64G --module openmpi/4.1 --module hdf5
        --sbatch mail-type=END --point-seconds 12.5 --set grid.x.num=101 --set 'evaluate.loss="mse"'""",
    "mpirun": "sweep.toml --launcher mpirun --ntasks-per-node 2 --time 30 --sbatch exclusive",
    "seeds": "sweep.toml --seeds 0-2,2018 --at-once 2 --log 'my logs/%x-%A_%a.log' --set schedule.tile=4",
    "configs": "sweep.toml other.toml --container image.sif --venv /opt/env --gpus-per-node 1",
}


def options(script: str) -> dict[str, str]:
    """The header: option → value."""
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")]
    return dict(line.partition("=")[::2] for line in lines)


def commands(script: str) -> list[str]:
    """What bash runs, without comments."""
    return [line.strip() for line in script.splitlines() if line.strip() and not line.startswith("#")]


# ---- the text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str, here: Path, made: Callable[..., str]) -> None:
    text = made(*shlex.split(GOLDEN[name]))
    assert text == (TESTS / f"golden/slurm_{name}.sbatch").read_text()


@pytest.mark.parametrize(
    "path", [*TEMPLATES.glob("*.sbatch"), *TESTS.glob("golden/*.sbatch")], ids=lambda p: p.name
)
def test_shellcheck(path: Path) -> None:
    if shutil.which("shellcheck") is None:
        launch.absent("shellcheck is absent")
    checked = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        ("sweep_srun", []),
        ("sweep_mpirun", ["--launcher", "mpirun"]),
        ("sweep_array", ["--seeds", "0-9"]),
    ],
)
def test_templates_do_what_the_verb_does(
    template: str, arguments: list[str], here: Path, made: Callable[..., str]
) -> None:
    """The same header but for its values, and from the launch on the same commands."""
    given = shlex.split(
        "--gpus-per-node 4 --cpus-per-task 4 --time 04:00:00 --job-name lsweep --point-seconds 93.3"
    )
    script = made("sweep.toml", *given, *arguments)
    text = (TEMPLATES / f"{template}.sbatch").read_text()
    assert options(text) == options(script)
    after = next(n for n, line in enumerate(commands(script)) if line.startswith("sweep=")) + 1
    launched = commands(script)[after:]
    assert len(launched) >= 6 and commands(text)[-len(launched) :] == launched


def test_templates_are_as_generated(tmp_path: Path) -> None:
    """After a change: python scripts/slurm_templates.py."""
    done = launch.python(ROOT / "scripts" / "slurm_templates.py", tmp_path)
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in TEMPLATES.glob("*.sbatch")}


def test_an_output_file(here: Path, made: Callable[..., str]) -> None:
    script = made("sweep.toml")
    assert made("sweep.toml", "-o", "jobs/a b.sbatch") == "jobs/a b.sbatch\n"
    assert (here / "jobs/a b.sbatch").read_text() == script
    assert cli.main(["slurm", "sweep.toml", "--nodes", "0", "-o", "bad.sbatch"]) == 2
    assert not (here / "bad.sbatch").exists()


def test_defaults(here: Path, made: Callable[..., str]) -> None:
    (here / "my sweep-2.toml").write_text(project.CONFIG)
    given = options(made("my sweep-2.toml", "--gpus-per-node", "h100:3"))
    assert given["job-name"] == "my_sweep_2" and given["ntasks-per-node"] == "3" and given["nodes"] == "1"
    assert options(made("sweep.toml"))["ntasks-per-node"] == "1"
    assert options(made("sweep.toml", "other.toml"))["job-name"] == "lsweep"


def test_the_environment_that_lsweep_is_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(verb.sys, "prefix", "/opt/my env")
    assert verb.own_environment() == "/opt/my env"
    monkeypatch.setattr(verb.sys, "base_prefix", "/opt/my env")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert verb.own_environment() is None
    monkeypatch.setenv("CONDA_PREFIX", "/opt/my env")
    assert verb.own_environment() == "/opt/my env"


# ---- the lead ------------------------------------------------------------------------------------------------


def test_the_lead_comes_from_what_was_measured(here: Path, made: Callable[..., str]) -> None:
    settings = load("sweep.toml")
    sweep(settings, SerialComm(), Options(max_points=4))
    surface = lsweep.open(here / settings.output)
    slowest = float(np.nanmax(surface.seconds))
    assert slowest > 0
    chosen = lead_time.choose([settings], point_seconds=1000)
    assert chosen.seconds == int(np.ceil(3 * slowest + MARGIN))
    assert "the slowest of the 4 points done so far" in chosen.why
    script = made("sweep.toml")
    assert options(script)["signal"] == f"USR2@{chosen.seconds}" and chosen.why in script


def test_the_lead_without_a_measurement(here: Path) -> None:
    settings = load("sweep.toml", ["schedule.tile=4"])
    assert lead_time.choose([load("sweep.toml")], 10).seconds == 30 + MARGIN
    assert lead_time.choose([load("sweep.toml")]).seconds == 180 + MARGIN
    assert "assumed" in lead_time.choose([load("sweep.toml")]).why
    # A stop comes between tiles.
    assert lead_time.choose([settings, load("other.toml")], 10).seconds == 120 + MARGIN


def test_the_lead_of_points_at_once(here: Path) -> None:
    """They are a tile; how many "auto" means is in the file."""
    assert lead_time.choose([load("sweep.toml", ["evaluate.points_at_once=5"])], 10).seconds == 150 + MARGIN
    settings = load("sweep.toml", ["evaluate.points_at_once=auto"])
    assert lead_time.choose([settings], 10).seconds == 30 + MARGIN
    sweep(settings, SerialComm(), Options(max_points=1))
    together = read_identity(here / settings.output)[0]["points_at_once"]
    slowest = float(np.nanmax(lsweep.open(here / settings.output).seconds))
    assert lead_time.choose([settings], 10).seconds == int(np.ceil(3 * together * slowest + MARGIN))


def test_an_output_that_cannot_be_resumed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "out").mkdir()
    (here / "out/sweep.h5").write_text("not HDF5")
    assert cli.main(["slurm", "sweep.toml"]) == 2
    assert capsys.readouterr().err.startswith("lsweep: error:")


@pytest.mark.parametrize(
    ("time", "fits"), [("0", True), ("1", False), ("1:50", False), ("1:51", True), ("2", True), ("0-1", True)]
)
def test_a_lead_that_does_not_fit(
    time: str, fits: bool, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """50 s of lead, and the signal comes up to a minute earlier."""
    assert cli.main(["slurm", "sweep.toml", "--point-seconds", "10", "--time", time]) == 0
    warned = capsys.readouterr().err
    assert warned == "" if fits else f"--time {time} may leave no time" in warned


def test_a_log_in_a_folder_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Slurm then ends a job at its start, and has no log to say why."""
    assert cli.main(["slurm", "sweep.toml", "--log", "logs/%x.log"]) == 0
    assert "warning: there is no folder 'logs'" in capsys.readouterr().err
    (here / "logs").mkdir()
    assert cli.main(["slurm", "sweep.toml", "--log", "logs/%x.log"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", np.inf),
        ("90", 5400),
        ("1:30", 90),
        ("1:00:00", 3600),
        ("1-2", 93600),
        ("1-2:03", 93780),
        ("0-00:00:05", 5),
    ],
)
def test_time_as_slurm_reads_it(text: str, seconds: float) -> None:
    assert header.seconds(header.checked("time", text)) == seconds


# ---- what is refused -----------------------------------------------------------------------------------------

BAD = {
    "a newline": (["--account", "a\n#SBATCH --uid=0"], "--account must not contain control characters"),
    "a newline in a path": (["--container", "a\nb"], "--container must not contain control"),
    "a control character": (["--module", "a\x1b[2J"], "--module must not contain control"),
    "an undecodable byte": (["--container", "a\udcff"], "--container must not contain control"),
    "a line separator": (["--log", "a\u2028b"], "--log must not contain control"),
    "a newline in a setting": (["--set", "output='a'\n"], "--set must not contain control"),
    "a space in a header": (["--partition", "a b"], "--partition must be letters, digits"),
    "a comment in a header": (["--log", "a#b"], "--log must be a path without"),
    "a quote in a header": (["--job-name", 'a"b'], "--job-name must be letters"),
    "no nodes": (["--nodes", "0"], "--nodes must be a whole number >= 1; got '0'"),
    "ranks that are no number": (["--ntasks-per-node", "many"], "--ntasks-per-node must be a whole number"),
    "half a thread": (["--cpus-per-task", "0.5"], "--cpus-per-task must be a whole number"),
    "GPUs": (["--gpus-per-node", "4:a100"], "--gpus-per-node must be [TYPE:]NUMBER"),
    "memory": (["--mem", "64GB"], "--mem must be NUMBER[K|M|G|T]"),
    "a time limit": (["--time", "4h"], "--time must be MINUTES, [HH:]MM:SS or D-HH"),
    "a constraint": (["--constraint", "a;b"], "--constraint must be features joined by"),
    "a launcher": (
        ["--launcher", "srnu"],
        "--launcher must be srun or mpirun, got 'srnu' (did you mean 'srun'?)",
    ),
    "srun's mpi": (["--mpi", "pmix v4"], "--mpi must be what"),
    "no time per point": (["--point-seconds", "0"], "--point-seconds must be > 0, got 0.0"),
    "no number": (["--point-seconds", "nan"], "--point-seconds must be > 0, got nan"),
    "a limit without an array": (["--at-once", "2"], "--at-once must be >= 1, for several CONFIGs"),
    "nothing at once": (["--seeds", "0-3", "--at-once", "0"], "--at-once must be >= 1"),
    "seeds": (["--seeds", "3-0"], "--seeds takes numbers and ranges"),
    "seeds and configurations": (["other.toml", "--seeds", "0-3"], "--seeds takes one CONFIG"),
    "one output for two": (["other.toml", "--set", "output=same.h5"], "two sweeps of the array would write"),
    "an environment": (["--venv", "nowhere"], "--venv must be a folder that contains bin"),
    "an option that is ours": (["--sbatch", "signal=USR1@5"], "--sbatch signal: use --point-seconds"),
    "an option with a name here": (["--sbatch", "time=5"], "--sbatch time: use --time"),
    "a short option": (["--sbatch", "N2"], "--sbatch must be KEY or KEY=VALUE"),
    "a value of many words": (["--sbatch", "comment=a b"], "--sbatch must be KEY or KEY=VALUE"),
    "an unknown key": (["--set", "grid.x.nun=3"], "unknown key 'grid.x.nun' (did you mean 'num'?)"),
    "a configuration": (["absent.toml"], "cannot read the configuration 'absent.toml'"),
}


@pytest.mark.parametrize("what", BAD)
def test_refused_in_one_line(what: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, said = BAD[what]
    assert cli.main(["slurm", "sweep.toml", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("lsweep: error:") and err.count("\n") == 1, err
    assert said in err and "\x1b" not in err


def test_a_configuration_cannot_write_into_the_script(here: Path, made: Callable[..., str]) -> None:
    """Whatever it holds, nothing of it but its path gets there."""
    (here / "odd.toml").write_text(project.CONFIG.replace("out/sweep.h5", "a\\nrm -r x\\n.h5"))
    assert "rm -r" not in made("odd.toml")
