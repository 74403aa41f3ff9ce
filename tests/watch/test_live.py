"""`lsweep watch` beside a real sweep on two ranks: in Chromium to 100 %, through a kill and a resume."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pages
import project
import pytest
from browser import Browser, programs
from launch import Job, environment, need_mpi

from lsweep.convert import surface_file
from lsweep.store.reader import read

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(400)]

# Points that take a while; each rank reports its own twice a second.
SLOW = """
import time
from torch.nn.functional import cross_entropy

def objective(model, batch):
    time.sleep(0.06)
    return {"loss": cross_entropy(model(batch[0]), batch[1], reduction="none")}
"""
SETTINGS = (
    "evaluate.objective=mine.py:objective",
    "grid.x.num=21",
    "grid.y.num=17",
    "store.sync_seconds=0.5",
)
PHASE, PERCENT = (
    "document.querySelector('.phase').textContent",
    "document.querySelector('.percent').textContent",
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    need_mpi()
    programs()
    project.make(tmp_path)
    (tmp_path / "mine.py").write_text(SLOW)
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.fixture
def server(here: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "lsweep", "watch", "out/sweep.h5", "--port", "0", "--interval", "0.3"]
    with subprocess.Popen(command, cwd=here, env=environment(), stdout=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


@pytest.fixture
def chromium(here: Path) -> Iterator[Browser]:
    started = Browser(here, offline=False)
    yield started
    started.close()


def sweep(folder: Path) -> Job:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return Job(2, "-m", "lsweep", "sweep", "sweep.toml", "--quiet", *settings, cwd=folder)


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def percent(browser: Browser) -> float:
    words = browser.ask("(document.querySelector('.percent') ?? {}).textContent ?? ''")
    return float(words.removesuffix(" %") or 0)


def readout(browser: Browser, i: int, j: int) -> dict[str, str]:
    """What the page says of the point at column i, row j."""
    browser.move(*browser.ask(f"lsweep.place(0, 'plane', {i}, {j})"))
    browser.settle()
    return browser.ask("lsweep.readouts()")[0]


def test_a_page_follows_a_sweep(here: Path, server: subprocess.Popen[str], chromium: Browser) -> None:
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    output = here / "out" / "sweep.h5"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    chromium.open(url)
    until(lambda: chromium.ask(PHASE) == "waiting")

    job = sweep(here)
    until(lambda: percent(chromium) > 15)
    assert chromium.ask(PHASE) == "running" and job.process.poll() is None
    # From here on it is one and the same page, as its reader has turned it.
    chromium.ask("(window.kept = true)")
    chromium.keys("ArrowRight", "l")
    turned = chromium.ask("lsweep.state().camera")
    assert chromium.ask("lsweep.state().scales[0].log")

    job.kill()
    until(lambda: chromium.ask(PHASE) == "killed")
    killed = percent(chromium)
    assert killed < 90
    assert "run the same command to resume" in chromium.ask("document.querySelector('.strip').textContent")
    half = read(output)
    status = [readout(chromium, i, j)["status"] for j in (0, 3) for i in (0, 3)]
    assert status == [("pending", "evaluated")[half.status[j, i]] for j in (0, 3) for i in (0, 3)]
    assert {"pending", "evaluated"} == set(status)
    empty = chromium.picture()

    job = sweep(here)
    until(lambda: chromium.ask(PHASE) == "running" and percent(chromium) > killed)
    assert job.wait() == 0, job.err
    until(lambda: chromium.ask(PHASE) == "complete")
    assert chromium.ask(PERCENT) == "100.0 %" and "100.0 %" in chromium.ask("document.title")
    assert chromium.ask("window.kept") and chromium.ask("lsweep.state().camera") == turned
    assert chromium.ask("lsweep.state().scales[0].log")
    surface = read(output)
    assert len(surface.sessions) == 2
    for j, i in [(0, 0), (16, 20), (3, 3), (7, 12)]:
        said = readout(chromium, i, j)
        assert (
            float(said["loss"]) == pytest.approx(surface.loss[j, i], rel=1e-5)
            and said["status"] == "evaluated"
        )
    assert (chromium.picture() != empty).any()

    surface_file.write(pages.rich(), output)  # another sweep under the same name is another page
    until(lambda: chromium.ask("document.querySelector('h2').textContent") == "resnet56")
    assert readout(chromium, 4, 6)["status"] == "evaluated" and "accuracy, test" in readout(chromium, 4, 6)
    assert {urlsplit(asked).netloc for asked in chromium.requests() if asked.startswith("http")} == {
        urlsplit(url).netloc
    }
    assert chromium.complaints() == []

    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    until(lambda: chromium.ask(PHASE) == "lost")
