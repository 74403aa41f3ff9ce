"""How often one may look: the error probability α of an interval, spent over growing prefixes of a finite set.

An interval that is looked at until it is narrow enough has more than one chance to be wrong. So each look gets its
share of α and a critical value of its own, wider than the single look's 1.96, such that all the intervals together
hold with probability 1 - α (group-sequential boundaries: Armitage, McPherson & Rowe 1969; Lan & DeMets 1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# α spent by a share τ of the last look's examples is α·τ^½ (the power family of Kim & DeMets 1987). Points that hardly
# depend on the input stop early, so early looks need a fair share; late looks have the lower critical values all the
# same, and they cost most. Tried on the paper's networks: τ itself took more examples far from the minimum, equal
# shares (Pocock's boundary, just about) more of them at a tolerance of 2 %.
POWER = 0.5
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


@dataclass(frozen=True)
class Level:
    """What one look may spend.

    Attributes:
        examples: the look's prefix size n.
        alpha: the error probability spent at this look.
        critical: c such that |z| > c here, after no such event before, has probability `alpha`.
    """

    examples: int
    alpha: float
    critical: float


@lru_cache(maxsize=16)
def levels(looks: tuple[int, ...], count: int, alpha: float) -> tuple[Level, ...]:
    """Spend `alpha` over looks at growing prefixes of `count` examples in random order.

    Without replacement the means of prefixes m < n have Cov = Var(mean of n), so their standardised errors are those
    of a Brownian motion at the times n / (1 - n/count): the recursion of Armitage, McPherson & Rowe (1969) gives the
    probability of a first crossing, whatever the sizes are. Exact for normal means.

    Args:
        looks: prefix sizes, growing, all below `count`.
        count: examples in all.
        alpha: in (0, 1).

    Returns:
        one `Level` per look; critical values are rounded up to 1e-4, so that every machine has the same.
    """
    spent = [alpha * (n / looks[-1]) ** POWER for n in looks]
    times = [n / (1 - n / count) for n in looks]
    found: list[Level] = []
    inside = _Inside(np.zeros(1), np.ones(1))
    for k, n in enumerate(looks):
        ratio = math.sqrt(times[k - 1] / times[k]) if k else 0.0
        exact = _critical(inside, ratio, 1 - spent[k])
        critical = math.ceil(exact * 1e4) / 1e4
        inside = _step(inside, ratio, critical)
        found.append(Level(n, spent[k] - (spent[k - 1] if k else 0.0), critical))
    return tuple(found)


@dataclass(frozen=True)
class _Inside:
    """The standardised error at a look, where no bound was crossed so far: nodes and their probability mass."""

    z: np.ndarray
    mass: np.ndarray


def _step(before: _Inside, ratio: float, critical: float) -> _Inside:
    """The next look's error within ±critical: z' = ratio·z + √(1 - ratio²)·(standard normal)."""
    z = critical * NODES
    sd = math.sqrt(1 - ratio**2)
    steps = (z[:, None] - ratio * before.z) / sd
    density = np.exp(-(steps**2) / 2) @ before.mass / (sd * math.sqrt(2 * math.pi))
    return _Inside(z, critical * WEIGHTS * density)


def _critical(before: _Inside, ratio: float, remaining: float) -> float:
    """The critical value within which a probability of `remaining` stays, by bisection."""
    low, high = 0.0, 10.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _step(before, ratio, middle).mass.sum() < remaining:
            low = middle
        else:
            high = middle
    return high
