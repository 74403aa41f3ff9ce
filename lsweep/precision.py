"""Lower precision with an error that is measured: the cheap mean, corrected by paired differences.

All examples are evaluated cheaply, and a small fixed stratified sample exactly as well. The mean difference
corrects the cheap mean (a control variate, of which the cheap values are the correlated surrogate) and has a
standard error. That is an estimate, not a bound; the rules below were chosen on the paper's networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from lsweep.strata import Strata


class Precision(IntEnum):
    """In what a point was computed, as the file's column "precision" has it."""

    UNKNOWN = 0
    FP64 = 1
    FP32 = 2
    TF32 = 3
    BF16 = 4
    FP16 = 5


LEAST = 50
# Shares of the examples that are evaluated exactly too, one after another, until the error is small enough.
SHARES = (0.05, 0.1, 0.2, 0.4)
# The half-width of what is called the error, in standard errors.
WIDTH = 2.2
# How far the sample's cheap mean may be from that of all. Where few examples make the loss, as near a minimum, a
# sample that missed them has a small standard error and is wrong: at (0.05, 0.05) of ResNet-56, 7 of 300 random
# samples of 50 accepted an error of 5 %.
REPRESENTATIVE = 0.25


def looks(examples: int) -> tuple[int, ...]:
    """How many examples are evaluated exactly, look by look; empty where a sample makes no sense."""
    sizes = sorted({max(LEAST, round(share * examples)) for share in SHARES})
    return tuple(size for size in sizes if size <= examples // 2)


@dataclass(frozen=True)
class Corrected:
    """Means over all examples, (metrics,) each.

    Attributes:
        means: corrected.
        errors: their standard errors.
        representative: whether the sample can be believed, judged by the first metric, the loss.
    """

    means: np.ndarray
    errors: np.ndarray
    representative: bool

    def within(self, tolerance: float) -> bool:
        """Whether the loss is known to within that share of itself."""
        half = WIDTH * self.errors[0]
        return self.representative and bool(half <= tolerance * abs(self.means[0]))


def correct(cheap: np.ndarray, exact: np.ndarray, strata: Strata) -> Corrected:
    """Correct cheap means by the differences of a sample.

    Args:
        cheap: (N, metrics) values of all examples, in the order of `strata`; the loss is column 0.
        exact: (n, metrics) exact values of the first n.
        strata: the order.
    """
    count = len(exact)
    shift, errors = strata.mean_and_error(exact - cheap[:count])
    means = cheap.mean(axis=0)
    sample, _ = strata.mean_and_error(cheap[:count, 0])
    representative = bool(abs(sample - means[0]) <= REPRESENTATIVE * abs(means[0]))
    return Corrected(means + shift, np.asarray(errors), representative)


def hopeless(cheap: np.ndarray, exact: np.ndarray, strata: Strata, tolerance: float, largest: int) -> bool:
    """Whether even the largest sample would be too small, as far as this one can tell.

    Args:
        cheap: (n, metrics) of the sample alone: asked before all examples are evaluated cheaply in vain.
        exact: (n, metrics).
        strata: the order.
        tolerance: as in `Corrected.within`.
        largest: the size of the largest sample.
    """
    if not (np.isfinite(cheap).all() and np.isfinite(exact).all()):
        return True
    _, error = strata.mean_and_error(exact[:, 0] - cheap[:, 0])
    mean, _ = strata.mean_and_error(exact[:, 0])
    return bool(WIDTH * error * np.sqrt(len(exact) / largest) > tolerance * abs(mean))
