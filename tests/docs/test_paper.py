"""The scripts of the paper's figures: every row has one, its full form is a job array, its tiny form runs."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import launch
import numpy as np
import pytest
from launch import ROOT

import lsweep
from lsweep import config

SCRIPTS = ROOT / "scripts" / "paper"
sys.path.insert(0, str(SCRIPTS))

import drawing  # noqa: E402
import fig2  # noqa: E402
import gallery  # noqa: E402
from rows import ROWS  # noqa: E402

WITHOUT_RUNS = {"tables"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # the scripts go to the repository; afterwards we are back where we were
    return tmp_path


def test_every_figure_and_table_has_its_row_and_script() -> None:
    where = " ".join(row.where for row in ROWS)
    assert all(f"figure {number}" in where for number in range(1, 10)) and "tables 1 and 2" in where
    assert all((SCRIPTS / f"{row.name}.py").is_file() and row.reports for row in ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("name", [row.name for row in ROWS if row.name not in WITHOUT_RUNS])
def test_the_full_form_is_a_job_array(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--size",
        "full",
        "--slurm=--time=01:00:00",
        "--work",
        str(here),
        "--out",
        str(here / "out"),
    ]
    monkeypatch.setattr(sys, "argv", [name, *options])
    runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    script = capsys.readouterr().out
    settings = {path.stem: config.load(path) for path in (here / "full").glob("*.toml")}
    trained = [settings[stem] for stem in settings if settings[stem].train]
    assert settings and ("sbatch --parsable --array=1-" in script) == bool(trained)
    assert ("lsweep slurm" in script) == (len(trained) < len(settings))
    assert all(one.data.limit is None for one in settings.values())
    outputs = [one.output for one in settings.values()]
    assert len(set(outputs)) == len(outputs)
    if trained:
        lines = (here / "full" / f"{name}_runs.txt").read_text().splitlines()
        base = script.split("slurm/train_array.sbatch ")[1].split()[0]
        assert f"--array=1-{len(lines)} " in script and len(lines) == len(trained)
        remade = [config.load(base, line.split()) for line in lines]
        assert {one.output: one for one in remade} == {one.output: one for one in trained}


def test_how_far_a_valley_reaches() -> None:
    x = np.linspace(-1, 1, 201)
    for sign in (-1, 1):
        assert drawing.reach(x, x**2, 0.0, 0.25, sign) == pytest.approx(0.5, abs=1e-4)
        assert drawing.reach(x, x**2, 0.0, 2.0, sign) is None
        assert drawing.reach(x, x**2 + 3, 0.0, 2.0, sign) == 0.0
    broken = np.where(x > 0.3, np.nan, x**2)
    assert drawing.reach(x, broken, 0.0, 0.25, 1) == pytest.approx(0.3, abs=1e-9)


def test_which_valley_is_the_wider_one() -> None:
    def of(small: float | None, large: float | None) -> str | None:
        return fig2.wider({"ends": {"small": {"inwards": small}, "large": {"inwards": large}}})

    assert of(0.2, 0.1) == "small" == of(None, 0.9) and of(0.1, 0.2) == "large" == of(0.9, None)
    assert of(0.0, 0.2) == "large" and of(0.2, 0.0) == "small" and of(None, None) is None


@pytest.mark.parametrize("accurate", [True, False])
def test_panels_share_one_legend(accurate: bool, here: Path) -> None:
    x = np.linspace(-1, 1, 5)
    accuracy = 1 / (1 + x**2) if accurate else np.full(5, np.nan)
    metrics = {"loss": 1 + x**2, "loss_test": 2 + x**2, "accuracy": accuracy}
    done = np.ones(5, np.uint8)
    surface = lsweep.Surface({"x": x}, metrics, done, np.ones(5, np.float32), np.zeros(5, np.int32))
    with drawing.panels(here / "a.png", 1, 2) as axes:
        for ax in axes[0]:
            drawing.line(surface, ax, "a")
        figure = axes[0][0].figure
        assert len(figure.legends) == 1 and not any(ax.get_legend() for ax in figure.axes)


def test_the_gallery_says_what_was_not_run(here: Path) -> None:
    folder = here / "fig5"
    folder.mkdir()
    numbers = {
        "size": "small",
        "drawn": "six networks",
        "found": ["a sentence with 3 numbers."],
        "pictures": ["figure.png"],
        "commits": ["0123456789ab"],
        "processor": "a CPU",
    }
    (folder / "numbers.json").write_text(json.dumps(numbers))
    drawn, absent = (gallery.section(here, row) for row in ROWS if row.name in ("fig5", "fig6"))
    assert "![figure.png](fig5/figure.png)" in drawn and "a sentence with 3 numbers" in drawn
    assert "Not run" not in drawn and "16.44 %" in drawn
    assert "**Not run.** `python scripts/paper/fig6.py`" in absent and "3.93 %" in absent
    overview = gallery.summary(here)
    assert overview.count("| not run |") == len(ROWS) - 1 and overview.count("| small |") == 1


def test_the_gallery_is_what_its_script_writes() -> None:
    folder = ROOT / "results" / "paper"
    assert (folder / "README.md").read_text() == gallery.page(folder)


@pytest.mark.slow
def test_the_smallest_forms_run_and_go_on(here: Path, shared: Path) -> None:
    folders = ("--size", "tiny", "--work", str(here / "work"), "--out", str(here / "out"))
    environment = launch.environment(LSWEEP_SHARED=str(shared))
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment["PYTHONPATH"]])
    for name in ("fig2", "fig8", "steps", "tables"):
        run = launch.python(SCRIPTS / f"{name}.py", *folders, timeout=300, env=environment)
        assert run.returncode == 0, run.stderr
        found = json.loads((here / "out" / f"{name}_tiny" / "numbers.json").read_text())
        assert found["size"] == "tiny" and found["found"] and found["numbers"] and found["commits"]
        assert bool(found["pictures"]) == (name != "tables")
    files = {path: path.stat().st_mtime_ns for path in (here / "work").rglob("*.safetensors")}
    again = launch.python(SCRIPTS / "fig2.py", *folders, timeout=300, env=environment)
    assert again.returncode == 0 and len(files) >= 4 * 3
    assert files == {path: path.stat().st_mtime_ns for path in (here / "work").rglob("*.safetensors")}
