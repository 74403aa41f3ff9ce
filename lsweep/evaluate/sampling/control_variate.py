"""Control variate: corrects a mean in lower precision by paired differences on a sample, with a standard error.

All examples are evaluated in lower precision, and a small stratified sample of them also in full precision. The mean
difference over the sample corrects the mean in lower precision (the control variate) and has a standard error. This is
an estimate, not a bound; the rules below were chosen on the paper's networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lsweep.evaluate.sampling.design import Design

Values = Callable[[int], np.ndarray]


LEAST = 50
# A smaller sample suffices if its error is smaller than the tolerance by this factor.
EARLY, MARGIN = 25, 2.0
# Shares of the examples that are also evaluated exactly, tried in this order until the error is small enough.
SHARES = (0.03, 0.06, 0.12, 0.25, 0.4)
# Half-width of the interval in standard errors.
WIDTH = 2.2
# Maximum distance of the sample's mean in lower precision from that of all examples. Near a minimum, few examples
# dominate the loss, and a sample without them is wrong and has a small standard error: at (0.05, 0.05) of ResNet-56, 7
# of 300 random samples of 50 accepted an error of 5 %.
REPRESENTATIVE = 0.25


def samples(examples: int, least: int = LEAST) -> tuple[int, ...]:
    """Sizes of the samples to evaluate exactly, in the order to try them; empty if sampling makes no sense."""
    sizes = sorted({max(least, round(share * examples)) for share in SHARES})
    return tuple(size for size in sizes if size <= examples // 2)


@dataclass(frozen=True)
class Correction:
    """Estimates from the differences of a sample, (metrics,) each.

    Attributes:
        shifts: exact minus low precision, the mean over all examples.
        errors: their standard errors.
        representative: whether the sample can be trusted, judged by its losses in low precision.
    """

    shifts: np.ndarray
    errors: np.ndarray
    representative: bool

    @property
    def half_width(self) -> float:
        """Half-width of the interval of the loss."""
        return WIDTH * float(self.errors[0]) if self.representative else math.inf


def correction(cheap: np.ndarray, exact: np.ndarray, design: Design) -> Correction:
    """Estimate the correction of means in low precision from the differences of a sample.

    Args:
        cheap: (n, metrics), the values of the first n examples of the design in low precision; the loss is column 0.
        exact: (m, metrics), exact values of the first m ≤ n.
        design: the order of the examples.
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
    """Whether even the largest sample would probably be too small, judged by this one.

    Args:
        cheap: (m, metrics), values of the sample alone, before further examples are evaluated in vain.
        exact: (m, metrics), exact values of the sample.
        design: the order of the examples.
        tolerance: relative half-width of the interval of the loss.
    """
    if not (np.isfinite(cheap).all() and np.isfinite(exact).all()):
        return True
    _, error = _moments(exact[:, 0] - cheap[:, 0], design)
    mean, _ = _moments(exact[:, 0], design)
    largest = samples(len(design), design.looks[0])[-1]
    return bool(WIDTH * error * math.sqrt(len(exact) / largest) > tolerance * abs(mean))


def early(cheap: Values, exact: Values, design: Design, tolerance: float) -> int | None:
    """The size of a sample below `LEAST` that is more than sufficient; None if there is none.

    Args:
        cheap, exact: return the values of the first n examples in the design's order, (n, metrics).
        design: the order of the examples.
        tolerance: relative half-width of the interval of the loss.
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
