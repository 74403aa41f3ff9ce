"""Assembles the methods paragraph and the BibTeX entries from the facts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from lsweep.describe import direction_sentences, sentences
from lsweep.describe.facts import facts, get
from lsweep.describe.style import STYLES
from lsweep.errors import InputError, nearest
from lsweep.surface import Surface

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


FORMATS = (*STYLES, "json")
WIDTH = 100


def describe(surface: Surface, format: str = "text", *, certificate: Mapping[str, Any] | None = None) -> str:
    """The methods paragraph of a sweep and the BibTeX entries to cite.

    Args:
        surface: as `lsweep.open` reads it.
        format: "text", "markdown", "latex" (with the BibTeX in comments) or "json" (facts, paragraph and BibTeX).
        certificate: see `facts.facts`; its item "words", a plain sentence, goes into the paragraph.

    Raises:
        InputError: the format is unknown.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}{nearest(format, FORMATS)}", key="format")
    known = facts(surface, certificate)
    bibtex = entries(known)
    if format == "json":
        content = {"facts": known, "paragraph": paragraph(known, "text"), "bibtex": bibtex}
        return json.dumps(content, indent=2, ensure_ascii=False)
    text = paragraph(known, format)
    if format == "markdown":
        return f"{text}\n\n```bibtex\n{bibtex}\n```"
    if format == "latex":
        return f"{_wrapped(text)}\n\n" + "\n".join(f"% {line}".rstrip() for line in bibtex.split("\n"))
    return f"{_wrapped(text)}\n\n{bibtex}"


def paragraph(known: Mapping[str, Any], format: str) -> str:
    """All sentences whose facts are known, on one line."""
    style = STYLES[format]
    said = (
        sentence(known, style)
        for sentence in (
            sentences.what,
            direction_sentences.directions,
            sentences.batchnorm,
            sentences.grid,
            sentences.precision,
            sentences.subset,
            sentences.curvature,
            sentences.trajectory,
            sentences.certificate,
            sentences.computed,
        )
    )
    return " ".join(sentence for sentence in said if sentence)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
