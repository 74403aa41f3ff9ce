"""Comparison of surfaces by quantitative measures, and which of these distinguish networks (docs/compare.md).

The command is `lsweep compare A.h5 B.h5 …`; `lsweep.compare.comparison.compare` does the same in Python. Importing
this package is cheap: its names are loaded on first use.
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
