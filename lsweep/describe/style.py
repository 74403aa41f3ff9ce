"""Text styles of the paragraph: plain, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lsweep.errors import printable

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
_MARKDOWN = "\\`*_{}[]<>#|$"
HASH = 12  # digits of a hash in words
LONGEST = 200  # characters of a name that a file gives


@dataclass(frozen=True)
class Style:
    """One way to write.

    Attributes:
        escape: makes words harmless, whatever they are.
        code: a name of a file or program, escaped.
        formula: (plain, LaTeX) → the formula.
        cite: of Li et al. 2018.
    """

    escape: Callable[[str], str]
    code: Callable[[str], str]
    formula: Callable[[str, str], str]
    cite: str

    def hash(self, digest: str) -> str:
        """The first digits of a hash, enough to tell one from another."""
        return self.code(digest[:HASH])


def conjunction(parts: Sequence[str]) -> str:
    """The parts with commas and an "and"; "" of none."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _short(text: str) -> str:
    return printable(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in _short(text))


def _markdown(text: str) -> str:
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in _short(text))


def _markdown_code(text: str) -> str:
    return f"`{_short(text).replace('`', chr(39))}`"


STYLES = {
    "text": Style(_short, _short, lambda plain, latex: plain, "Li et al. 2018"),
    "markdown": Style(_markdown, _markdown_code, lambda plain, latex: f"${latex}$", "Li et al. 2018"),
    "latex": Style(
        _latex,
        lambda text: rf"\texttt{{{_latex(text)}}}",
        lambda plain, latex: f"${latex}$",
        r"\citealp{li2018visualizing}",
    ),
}
