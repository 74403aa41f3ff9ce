"""The project's Markdown: what its marked blocks say, and where its links go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "slurm/*.md", "results/*/README.md", "results/*/*/README.md")
    for path in ROOT.glob(pattern)
)
_BLOCK = re.compile(
    r"^<!-- (?P<mark>run|file: \S+|test: [\w ]+) -->\n```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]*)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block behind a comment: "run", "file: NAME" or "test: NAME"."""

    page: Path
    mark: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The marked blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(page, m["mark"], m["language"], m["text"]) for m in _BLOCK.finditer(text)]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Target and fragment of every relative link, either perhaps empty."""
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        target, _, fragment = link.partition("#")
        yield target, fragment
