"""Text styles of the paragraph: plain text, Markdown and LaTeX."""

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
HASH = 12  # digits of a hash that are printed
LONGEST = 200  # characters of a name taken from a file


@dataclass(frozen=True)
class Style:
    """A text style.

    Attributes:
        escape: escapes arbitrary text.
        code: formats and escapes the name of a file or program.
        formula: (plain, LaTeX) → the formula.
        cite: the citation of Li et al. 2018.
    """

    escape: Callable[[str], str]
    code: Callable[[str], str]
    formula: Callable[[str, str], str]
    cite: str

    def hash(self, digest: str) -> str:
        """The first digits of a hash, enough to distinguish two hashes."""
        return self.code(digest[:HASH])


def conjunction(parts: Sequence[str]) -> str:
    """The parts joined by commas and "and"; "" if there are none."""
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
