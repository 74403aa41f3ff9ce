"""How often one may look: the error probability α of an interval that is looked at until it is narrow enough.

An interval with several chances to be narrow enough has several chances to be wrong. A point has few: a first look, a
second one whose size the first plans (two stages: Stein 1945), and a third should that fall short. Each has a fixed
share of α, so by Bonferroni's inequality all of them together hold with probability 1 - α, whatever the sizes depend
on. Tried before, on the paper's networks: looks at sizes that grow by a half with α spent along them (Lan & DeMets
1983) took about 1.4 times as many examples where a point stops early, since every look costs and few sizes fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

# Most goes to the look that was planned; the first is for points that hardly depend on the input.
SHARES = (0.2, 0.7, 0.1)


@dataclass(frozen=True)
class Level:
    """What one look may spend.

    Attributes:
        alpha: the error probability of its interval.
        critical: c such that |z| > c has that probability for a standard normal z; rounded up to 1e-4, so that
            every machine has the same.
    """

    alpha: float
    critical: float


@lru_cache(maxsize=16)
def levels(alpha: float, shares: tuple[float, ...] = SHARES) -> tuple[Level, ...]:
    """Divide `alpha`, in (0, 1), over the looks of a point, in their order."""
    return tuple(_level(share * alpha) for share in shares)


def _level(alpha: float) -> Level:
    return Level(alpha, math.ceil(-NormalDist().inv_cdf(alpha / 2) * 1e4) / 1e4)
