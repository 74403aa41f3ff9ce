"""results/figures/gallery: its page, its script and its files say the same."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from documents import ROOT

from lsweep.cli import dispatch
from lsweep.render.look import KINDS
from lsweep.store.reader import read

sys.path.insert(0, str(ROOT / "scripts" / "figures"))
import plot_gallery as gallery

FOLDER = ROOT / "results" / "figures" / "gallery"
MOST = 8_000_000  # bytes in all: a clone carries them


def words(verb: str) -> list[list[str]]:
    """The arguments of every command `lsweep VERB …` of the gallery."""
    lines = [shlex.split(command) for entry in gallery.ENTRIES for command in entry.commands]
    return [line[1:] for line in lines if line[:2] == ["lsweep", verb]]


def test_the_page_is_what_the_script_writes():
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == gallery.page()


def test_every_file_named_is_there_and_every_file_there_is_named():
    named = {file for entry in gallery.ENTRIES for file in entry.files}
    there = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert there == named | {"README.md"}
    assert len(named) == sum(len(entry.files) for entry in gallery.ENTRIES)
    kept = [path for path in FOLDER.rglob("*") if path.is_file() and "build" not in path.parts]
    assert sum(path.stat().st_size for path in kept) < MOST


@pytest.mark.parametrize("entry", gallery.ENTRIES, ids=lambda entry: entry.name)
def test_an_entrys_commands_make_its_files_from_what_is_there(entry):
    said = " ".join(entry.commands).replace("--screenshot=", " ")
    assert set(entry.files) <= set(said.split())
    for source in re.findall(r"\S+\.h5", said):
        assert read(FOLDER / source).done.any()
    for command in entry.commands:
        if command.startswith("lsweep"):
            dispatch._parser().parse_args(shlex.split(command.partition(">")[0])[1:])


def test_every_kind_is_shown():
    kinds = {line[line.index("--kind") + 1] for line in words("render") if "--kind" in line}
    assert kinds == set(KINDS) - {"auto"}
    motions = [
        line[line.index("--motion") + 1] if "--motion" in line else "turntable" for line in words("movie")
    ]
    assert set(motions) == {"turntable", "fly-in"}


def test_a_command_draws_the_picture_that_is_there(tmp_path: Path, monkeypatch):
    """Up to what another matplotlib does to letters and edges: the size, and nearly all pixels."""
    import numpy as np
    from browser import pixels

    (command,) = next(entry.commands for entry in gallery.ENTRIES if entry.name == "heatmap")
    monkeypatch.chdir(FOLDER)
    arguments = shlex.split(command)[1:]
    arguments[-1] = str(tmp_path / "heatmap.png")
    assert dispatch.main(arguments) == 0
    drawn, kept = (pixels((folder / "heatmap.png").read_bytes()) for folder in (tmp_path, FOLDER))
    assert abs(drawn.shape[0] - kept.shape[0]) <= 2 and drawn.shape[1] == kept.shape[1]
    rows = min(len(drawn), len(kept))
    off = np.abs(drawn[:rows].astype(int) - kept[:rows]).max(axis=2) > 40
    assert off.mean() < 0.05
