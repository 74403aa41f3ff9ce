"""BibTeX entries to cite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsweep.describe.facts import get
from lsweep.describe.style import STYLES

LI2018 = """@inproceedings{li2018visualizing,
  title     = {Visualizing the Loss Landscape of Neural Nets},
  author    = {Li, Hao and Xu, Zheng and Taylor, Gavin and Studer, Christoph and Goldstein, Tom},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {31},
  year      = {2018}
}"""


def entries(known: Mapping[str, Any]) -> str:
    """BibTeX entries of the paper that introduced the method and of lsweep, in the version recorded in the file."""
    escape = STYLES["latex"].escape
    version, commit = (get(known, str, "software", key) for key in ("lsweep", "commit"))
    notes = [f"Version {escape(version)}"] if version else []
    notes += [f"commit {escape(commit)}"] if commit else []
    note = f",\n  note   = {{{', '.join(notes)}}}" if notes else ""
    software = (
        "@misc{lsweep,\n"
        "  title  = {lsweep: loss landscapes of neural networks, swept in parallel},\n"
        f"  author = {{{{The lsweep developers}}}}{note}\n}}"
    )
    return f"{LI2018}\n\n{software}"
