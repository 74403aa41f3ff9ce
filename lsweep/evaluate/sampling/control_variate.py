"""Control variate: corrects a mean in lower precision by paired differences on a sample, with a standard error.

Examples are evaluated cheaply, and a small stratified sample of them exactly as well. The mean difference corrects
the cheap mean (a control variate, of which the cheap values are the correlated surrogate) and has a standard
error. That is an estimate, not a bound; the rules below were chosen on the paper's networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lsweep.evaluate.sampling.design import Design

Values = Callable[[int], np.ndarray]


LEAST = 50
# A smaller sample does where its error is so many times smaller than it need be.
EARLY, MARGIN = 25, 2.0
# Shares of the examples that are evaluated exactly too, one after another, until the error is small enough.
SHARES = (0.03, 0.06, 0.12, 0.25, 0.4)
# The half-width of what is called the error, in standard errors.
WIDTH = 2.2
# How far the sample's cheap mean may be from that of all. Where few examples make the loss, as near a minimum, a
# sample that missed them has a small standard error and is wrong: at (0.05, 0.05) of ResNet-56, 7 of 300 random
# samples of 50 accepted an error of 5 %.
REPRESENTATIVE = 0.25


def samples(examples: int, least: int = LEAST) -> tuple[int, ...]:
    """How many of so many examples are evaluated exactly, one after another; empty where a sample makes no sense."""
    sizes = sorted({max(least, round(share * examples)) for share in SHARES})
    return tuple(size for size in sizes if size <= examples // 2)


@dataclass(frozen=True)
class Correction:
    """What the differences of a sample say, (metrics,) each.

    Attributes:
        shifts: exact minus cheap, the mean over all examples.
        errors: their standard errors.
        representative: whether the sample can be believed, judged by its cheap losses.
    """

    shifts: np.ndarray
    errors: np.ndarray
    representative: bool

    @property
    def half_width(self) -> float:
        """Of the loss's interval."""
        return WIDTH * float(self.errors[0]) if self.representative else math.inf


def correction(cheap: np.ndarray, exact: np.ndarray, design: Design) -> Correction:
    """Correct cheap means by the differences of a sample.

    Args:
        cheap: (n, metrics) values of the first n examples of the design; the loss is column 0.
        exact: (m, metrics) exact values of the first m ≤ n.
        design: the order.
    """
    count = len(exact)
    found = [_moments(column, design) for column in (exact - cheap[:count]).T]
    sample = _moments(cheap[:count, 0], design)[0]
    mean = float(cheap[:, 0].mean())
    return Correction(
        shifts=np.array([shift for shift, _ in found]),
        errors=np.array([error for _, error in found]),
        representative=abs(sample - mean) <= REPRESENTATIVE * abs(mean),
    )


def hopeless(cheap: np.ndarray, exact: np.ndarray, design: Design, tolerance: float) -> bool:
    """Whether even the largest sample would be too small, as far as this one can tell.

    Args:
        cheap: (m, metrics) of the sample alone: asked before more examples are evaluated cheaply in vain.
        exact: (m, metrics).
        design: the order.
        tolerance: of the loss's interval, relative.
    """
    if not (np.isfinite(cheap).all() and np.isfinite(exact).all()):
        return True
    _, error = _moments(exact[:, 0] - cheap[:, 0], design)
    mean, _ = _moments(exact[:, 0], design)
    largest = samples(len(design), design.looks[0])[-1]
    return bool(WIDTH * error * math.sqrt(len(exact) / largest) > tolerance * abs(mean))


def early(cheap: Values, exact: Values, design: Design, tolerance: float) -> int | None:
    """The size of a sample smaller than `LEAST` that seems to be enough by far; None where there is none.

    Args:
        cheap, exact: number of examples → their first values in the design's order, (n, metrics).
        design: the order.
        tolerance: of the loss's interval, relative.
    """
    strata = design.strata
    if np.bincount(strata.of[:EARLY], minlength=len(strata.sizes)).min() < 2:
        return None
    values = exact(EARLY)[:, 0]
    _, error = _moments(values - cheap(EARLY)[:, 0], design)
    mean, _ = _moments(values, design)
    return EARLY if MARGIN * WIDTH * error <= tolerance * abs(mean) else None


def _moments(values: np.ndarray, design: Design) -> tuple[float, float]:
    if not np.isfinite(values).all():
        return math.nan, math.nan
    return design.strata.mean_and_error(values)
