"""Training of networks into a trail of checkpoints, and reports on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep.tools.lazy import attach

if TYPE_CHECKING:
    from lsweep.training.loop import Training, TrainingOutcome

__all__ = ["Training", "TrainingOutcome"]

__getattr__, __dir__ = attach(
    __name__, {"TrainingOutcome": "lsweep.training.loop", "Training": "lsweep.training.loop"}
)
