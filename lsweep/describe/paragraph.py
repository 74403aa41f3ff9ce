"""Assembles the methods paragraph and the references from the facts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from lsweep.describe import recipes, sentences
from lsweep.describe.bibtex import entries
from lsweep.describe.facts import facts
from lsweep.describe.style import STYLES
from lsweep.errors import InputError, nearest
from lsweep.surface import Surface

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
            recipes.directions,
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
