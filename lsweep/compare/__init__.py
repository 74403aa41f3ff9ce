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

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "area": "area_below share_below",
        "minima": "Minimum local_minima",
        "roughness": "excess_variation",
        "stencils": "convex_share second_difference",
    },
)
