"""Training of networks into a trail of checkpoints, and reports on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep.tools.lazy import attach

if TYPE_CHECKING:
    from lsweep.training.loop import Outcome, Training

__all__ = ["Outcome", "Training"]

__getattr__, __dir__ = attach(
    __name__, {"Outcome": "lsweep.training.loop", "Training": "lsweep.training.loop"}
)
