"""Methods paragraph of a sweep from its file, with the references to cite.

`describe(surface)` returns text, Markdown, LaTeX or JSON. What the file does not say is left out.
"""

from __future__ import annotations

from lsweep.describe.paragraph import FORMATS, describe

__all__ = ["FORMATS", "describe"]
