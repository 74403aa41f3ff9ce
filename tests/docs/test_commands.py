"""The commands of the documentation, as they stand there, in the order in which a reader meets them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import launch
import pytest
from documents import ROOT, Block, blocks

# The tutorial first: it makes what the others begin with.
ORDER = ("docs/tutorial.md", "README.md", "docs/guide.md", "docs/file_format.md", "docs/gallery.md")
NOT_HERE = ("sbatch", "srun")  # what a machine without a Slurm of its own cannot run


def run(block: Block, folder: Path) -> None:
    if block.mark.startswith("file: "):
        (folder / block.mark.removeprefix("file: ")).write_text(block.text)
        return
    if block.language == "python":
        command = [sys.executable, "-c", block.text]
    else:
        kept = [
            line for line in block.text.splitlines() if not any(name in line.split() for name in NOT_HERE)
        ]
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(kept)]
    environment = launch.environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{block.page.name}:\n{block.text}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.timeout(900)
def test_the_commands_run(tmp_path: Path) -> None:
    launch.need_mpi()
    paper = Path("results/figures/li2018_resnet56")
    (tmp_path / paper).mkdir(parents=True)
    for file in (ROOT / paper).glob("*.h5"):
        shutil.copy(file, tmp_path / paper)
    for page in ORDER:
        marked = blocks(ROOT / page)
        assert marked, f"{page} has no marked block"
        for block in marked:
            run(block, tmp_path)
    made = [
        "results/my.h5",
        "my.html",
        "methods.tex",
        "figures/landscape.pdf",
        "figures/seeds.pdf",
        "my.vts",
        "my.csv",
    ]
    made += [
        str(paper / name)
        for name in ("surface.png", "contour.png", "filled.png", "scene.png", "resnet56.html", "resnet56.vts")
    ]
    assert [name for name in made if not (tmp_path / name).is_file()] == []
    assert (
        rb"\documentclass" not in (tmp_path / "methods.tex").read_bytes()
    )  # a paragraph, to be put into a paper
