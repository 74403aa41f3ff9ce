"""One sweep from set-up to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep.tools.lazy import attach

if TYPE_CHECKING:
    from lsweep.engine.job import execute
    from lsweep.engine.loop import run

__all__ = ["execute", "run"]

__getattr__, __dir__ = attach(__name__, {"execute": "lsweep.engine.job", "run": "lsweep.engine.loop"})
