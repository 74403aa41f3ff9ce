"""Write results/paper/README.md from the numbers.json of every figure that was drawn, beside what [Li18] reports.

python scripts/paper/gallery.py [--out results/paper]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from rows import ROWS, Row
from study import ROOT

HEAD = """# The paper's figures and tables, row by row

*Visualizing the Loss Landscape of Neural Nets* (Li, Xu, Taylor, Studer, Goldstein, NeurIPS 2018), figures numbered as
in [arXiv:1712.09913v3](https://arxiv.org/abs/1712.09913v3). Its numbers are those of its captions and text, taken from
public transcriptions of them, not from the PDF: look there before citing one. This page is written by
`python scripts/paper/gallery.py` from each folder's `numbers.json`, which holds every number and every configuration.

Each row has its script in `scripts/paper/`. `--size small` takes two CPU cores and minutes,
with networks and data much smaller than the paper's: its numbers stand beside the paper's, but are of another
experiment. `--size full` is the paper's recipe, meant for GPUs: `--slurm="--time=08:00:00 --gpus-per-node=1"` prints
how to submit it as two job arrays, one of trainings and one of sweeps. All are resumable; images and released weights
are expected in `../shared` (or `LSWEEP_SHARED`).


"""


def read(folder: Path) -> dict[str, Any] | None:
    """A folder's numbers; None where it was not drawn."""
    path = folder / "numbers.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


def summary(out: Path) -> str:
    lines = ["| | what | size | script |", "|---|---|---|---|"]
    for row in ROWS:
        sizes = [found["size"] for found in _drawn(out, row)]
        link = f"[{row.where if row.where != '-' else 'beyond the paper'}](#{row.name})"
        script = f"[`{row.name}.py`](../../scripts/paper/{row.name}.py)"
        what = row.what.replace("|", "\\|")
        lines.append(f"| {link} | {what} | {' and '.join(sizes) or 'not run'} | {script} |")
    return "\n".join(lines)


def section(out: Path, row: Row) -> str:
    where = row.where if row.where != "-" else "Beyond the paper"
    lines = [f'<a id="{row.name}"></a>', "", f"## {where[0].upper()}{where[1:]}: {row.what}", ""]
    for found in _drawn(out, row):
        folder = row.name if found["size"] == "small" else f"{row.name}_{found['size']}"
        lines += [f"![{picture}]({folder}/{picture})" for picture in found["pictures"]] + [""]
        commits = ", ".join(found["commits"]) or "none"
        lines += [
            f"*{found['size'].capitalize()} form: {found['drawn']}. Commit {commits}; {found['processor']}.*",
            "",
        ]
        lines += ["Here:", "", *(f"- {sentence}" for sentence in found["found"]), ""]
    if not _drawn(out, row):
        lines += [f"**Not run.** `python scripts/paper/{row.name}.py` runs the small form.", ""]
    lines += ["The paper:", "", *(f"- {sentence}" for sentence in row.reports), ""]
    return "\n".join(lines)


def _drawn(out: Path, row: Row) -> list[dict[str, Any]]:
    folders = [row.name, *(f"{row.name}_{size}" for size in ("medium", "full"))]
    return [found for folder in folders if (found := read(out / folder))]


def page(out: Path) -> str:
    """The text of the gallery of what lies in a folder."""
    sections = "\n".join(section(out, row) for row in ROWS)
    return f"{HEAD.rstrip()}\n\n{summary(out)}\n\n{sections}".rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/paper"))
    args = parser.parse_args()
    os.chdir(ROOT)
    (args.out / "README.md").write_text(page(args.out))
    print(args.out / "README.md")


if __name__ == "__main__":
    main()
