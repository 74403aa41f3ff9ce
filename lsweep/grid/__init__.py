"""Grid points, the coarse-to-fine hierarchy, adaptive refinement, and the schedule that assigns tiles to ranks."""

from __future__ import annotations

from lsweep.grid.grid import AXIS_NAMES, Axis, Grid, Refine

__all__ = ["AXIS_NAMES", "Axis", "Grid", "Refine"]
