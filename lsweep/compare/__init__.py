"""Comparison of surfaces: numbers for what the eye sees, and which of them distinguish networks (docs/compare.md).

`lsweep compare A.h5 B.h5 …` is the command; `lsweep.compare.comparison.compare` does the same in Python. Importing
this package imports nothing heavy: its names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep.tools.lazy import attach

if TYPE_CHECKING:
    from lsweep.compare.area import area_below, share_below
    from lsweep.compare.minima import Minimum, local_minima
    from lsweep.compare.roughness import excess_variation
    from lsweep.compare.stencils import convex_share, second_difference

__all__ = [
    "Minimum",
    "area_below",
    "convex_share",
    "excess_variation",
    "local_minima",
    "second_difference",
    "share_below",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Minimum": "lsweep.compare.minima",
        "area_below": "lsweep.compare.area",
        "convex_share": "lsweep.compare.stencils",
        "excess_variation": "lsweep.compare.roughness",
        "local_minima": "lsweep.compare.minima",
        "second_difference": "lsweep.compare.stencils",
        "share_below": "lsweep.compare.area",
    },
)
