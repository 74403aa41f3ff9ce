"""Methods paragraph of a sweep, written from its file, with the references to cite.

`describe(surface)` returns text, Markdown, LaTeX or JSON. Facts that the file does not record are left out.
"""

from __future__ import annotations

from lsweep.describe.paragraph import FORMATS, describe

__all__ = ["FORMATS", "describe"]
