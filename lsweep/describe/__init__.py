"""The methods paragraph of a sweep: what its file says about how it was made, in words, and what to cite.

`describe(surface)` returns text, Markdown, LaTeX or JSON. What the file does not say is left out.
"""

from __future__ import annotations

from lsweep.describe.paragraph import FORMATS, describe

__all__ = ["FORMATS", "describe"]
