"""The command line: dispatch and the verbs that compute."""

from __future__ import annotations

from lsweep.cli.dispatch import main

__all__ = ["main"]
