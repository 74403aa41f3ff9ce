"""Importance sampling: the mean loss from few examples, drawn with probabilities based on their predicted losses.

Near a minimum, few examples dominate the loss, and they are mostly the same at neighbouring points. So examples are
drawn by Poisson sampling (Hájek 1964), with inclusion probabilities π proportional to a size computed from the
predicted loss. Each example has one random number, so that a larger sample contains the smaller one (permanent random
numbers: Ohlsson 1998). The mean is the generalised regression estimator (Särndal, Swensson & Wretman, *Model Assisted
Survey Sampling*, 1992, §6.4-6.7): the fit of the losses on the predictions, evaluated for all examples, plus
Σ(residual/π) over the sample. Its error comes only from the residuals: a wrong prediction widens the interval and costs
examples, but does not bias the result.

This requires random numbers that are independent of the prediction, so every point draws its own. If they were the same
at all points, examples with small numbers would be sampled everywhere and predicted well, and the bad predictions of
the others would never be sampled. A small sample cannot detect that a few examples predicted to be the smallest at both
neighbours have become the largest: because of `FLOOR`, a sixth of the sample searches for them, and by measurement they
are rare.

The interval is that of a stratified subset (`intervals`): Student's t with Satterthwaite's degrees of freedom,
corrected for skewness, and the rule of three for examples that were not sampled: their share is measured in sizes, and
their residuals, in units of size, are assumed to be half as large as the largest in the sample. The constants were
chosen on the losses of the paper's network, for which results/bench/neighbours lists examples and errors; most of them
matter little. `SHARES` of α has more looks than a stratified subset, because a sample with unexpected losses plans a
new size: with three looks, more points fell back to all examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lsweep.evaluate.sampling import intervals
from lsweep.evaluate.sampling.design import Tolerance
from lsweep.evaluate.sampling.intervals import NORMAL, Estimate, Significance

FIRST = 150  # approximate number of examples at the first look
SHARES = (0.1, 0.4, 0.25, 0.15, 0.1)  # of α, per look
MARGIN = 1.2  # safety factor on a planned size: a look that is too small costs more
NEAR = 1.03  # relative accuracy of a planned size
# Sizes: (prediction + SWAY · larger neighbour)^POWER, and at least FLOOR times their mean. The neighbour is for
# examples whose loss changes much between the two; without it, more unexpected losses had small probabilities, and more
# points needed all examples.
SWAY, POWER, FLOOR = 0.3, 0.8, 0.2
GUARD = 0.5


@dataclass(frozen=True, eq=False)
class Prediction:
    """Prediction of the losses of N examples at a point; float64, finite, > 0.

    Attributes:
        losses: (N,), the predicted losses.
        high: (N,), the larger of the losses at the two neighbours.
    """

    losses: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Sample:
    """A sample of the examples.

    Attributes:
        examples: (n,) int64, increasing indices.
        chances: (N,), the inclusion probability of every example.
        level: significance level of the look.
    """

    examples: np.ndarray
    chances: np.ndarray
    level: Significance

    @property
    def own(self) -> np.ndarray:
        """The inclusion probabilities of the sampled examples, (n,)."""
        result: np.ndarray = self.chances[self.examples]
        return result


@dataclass(frozen=True, eq=False)
class Importance:
    """The sampling of a point's examples, and when to stop.

    Attributes:
        prediction: prediction of the losses.
        numbers: (N,) float64, uniform in [0, 1), drawn for this point; see `draw`.
        tolerance: required width of the interval of the loss.
    """

    prediction: Prediction
    numbers: np.ndarray
    tolerance: Tolerance

    def search(self, losses: Callable[[np.ndarray], np.ndarray], most: float) -> Sample | None:
        """Draw examples until the mean loss is accurate enough; None if that takes more than `most`.

        Args:
            losses: returns the losses (n,) of examples (n,); each call's examples include those of the previous calls.
            most: number of examples above which other methods are cheaper.
        """
        levels = intervals.spend_alpha(1 - self.tolerance.confidence, SHARES)
        count: float = FIRST
        for level, following in zip(levels, (*levels[1:], None), strict=True):
            if count > most:
                return None
            sample = self.sample(count, level)
            values = losses(sample.examples)
            found = self.loss(values, sample)
            # A mean that is not finite stays so with any further examples.
            if not math.isfinite(found.mean) or found.half_width <= self._wanted(found):
                return sample
            if following is None:
                return None
            needed = self._required(values, sample, following, self._wanted(found), most)
            count = max(MARGIN * needed, count + 20)
        return None

    def sample(self, count: float, level: Significance) -> Sample:
        """A sample of about `count` examples."""
        odds = chances(self._sizes, count)
        return Sample(np.flatnonzero(self.numbers < odds), odds, level)

    def loss(self, values: np.ndarray, sample: Sample) -> Estimate:
        """Estimate the mean loss of all examples from the losses (n,) of a sample.

        Returns:
            the estimate; if a value is not finite, the mean of `values` and NaN for the rest.
        """
        if len(values) == 0 or not np.isfinite(values).all():
            mean = float(values.mean()) if len(values) else math.nan
            return Estimate(mean, math.nan, math.nan, math.nan, len(values))
        total, residuals = self._fit(values, sample)
        half = self._half_width(residuals, sample, sample.chances, sample.level, small=True)
        mean = total / len(self.numbers)
        return Estimate(mean, half / sample.level.critical, mean - half, mean + half, len(values))

    def mean(self, values: np.ndarray, sample: Sample) -> tuple[float, float]:
        """Mean over all examples of another quantity, and its standard error, from its values (n,) in a sample.

        It is fitted to the predicted loss and to the probability of a correct class that follows from it.
        """
        losses = self.prediction.losses
        known = np.stack([np.ones(len(losses)), np.exp(-losses), losses / losses.mean()], axis=1)
        total, residuals = regression(values, known, np.ones(len(losses)), sample)
        variance = ((1 - sample.own) * (residuals / sample.own) ** 2).sum()
        # As in `intervals.fraction`: examples that were not sampled may be wrong even if all sampled ones are right.
        return total / len(losses), math.hypot(math.sqrt(variance) / len(losses), 1 / (2 * len(values)))

    @cached_property
    def _sizes(self) -> np.ndarray:
        size = (self.prediction.losses + SWAY * self.prediction.high) ** POWER
        result: np.ndarray = size + FLOOR * size.mean()
        return result

    def _wanted(self, loss: Estimate) -> float:
        return max(self.tolerance.relative_error * abs(loss.mean), self.tolerance.absolute_error)

    def _fit(self, values: np.ndarray, sample: Sample) -> tuple[float, np.ndarray]:
        known = np.stack([self.prediction.losses, self.prediction.high], axis=1)
        return regression(values, known, self._sizes, sample)

    def _required(
        self, values: np.ndarray, sample: Sample, level: Significance, wanted: float, most: float
    ) -> float:
        """Approximate number of examples for an interval of half-width `wanted`, judged by a sample.

        Infinite if `most` are too few.
        """
        _, residuals = self._fit(values, sample)

        def narrow(count: float) -> bool:
            odds = chances(self._sizes, count)
            return self._half_width(residuals, sample, odds, level, small=False) <= wanted

        low, high = float(sample.chances.sum()), float(min(most, len(self.numbers)))
        if low >= high or not narrow(high):
            return math.inf
        while high > low * NEAR:
            count = math.sqrt(low * high)
            low, high = (low, count) if narrow(count) else (count, high)
        return high

    def _half_width(
        self, residuals: np.ndarray, sample: Sample, odds: np.ndarray, level: Significance, *, small: bool
    ) -> float:
        """Half-width of the interval if the examples were drawn with `odds`; `small` allows for the size of this
        sample."""
        if (odds >= 1).all():
            return 0.0
        unit = float(np.abs(residuals).max())
        if unit == 0:
            return math.inf  # all sampled residuals are zero
        own, free, scaled = odds[sample.examples], odds < 1, residuals / unit
        parts = (1 - own) / own / sample.own * scaled**2
        variance = parts.sum()
        cubes = (1 - own) * (1 - 2 * own) / own**2 / sample.own * scaled**3
        quantile = level.critical
        if small and variance > 0:
            from scipy.special import stdtrit  # imported here, as in `intervals.corrected_quantile`

            freedom = max(1.0, float(variance**2 / (parts**2).sum()))
            quantile = float(-stdtrit(freedom, NORMAL.cdf(-level.critical)))
        skewness = abs(float(cubes.sum())) / variance**1.5 if variance > 0 else 0.0
        quantile += skewness * (1 + 2 * quantile**2) / 6
        worst = float((np.abs(scaled) / self._sizes[sample.examples]).max())
        unseen = -math.log(level.alpha) / odds[free].sum() * self._sizes[free].sum() * worst
        return math.hypot(math.sqrt(variance) * quantile, GUARD * unseen) * unit / len(odds)


def draw(seed: int, point: int, count: int, split: int = 0) -> np.ndarray:
    """Random numbers of a point, (count,) uniform in [0, 1), the same on every rank and in every session."""
    return np.random.Generator(np.random.PCG64([seed, point, split])).random(count)


def chances(sizes: np.ndarray, count: float) -> np.ndarray:
    """Probabilities (N,) proportional to `sizes`, all > 0, with sum `count`; those of the largest are limited to 1."""
    certain = np.zeros(len(sizes), dtype=bool)
    while count < len(sizes):
        odds = (count - certain.sum()) / sizes[~certain].sum() * sizes
        more = ~certain & (odds >= 1)
        if not more.any():
            return np.where(certain, 1.0, odds)
        certain |= more
    return np.ones(len(sizes))


def regression(
    values: np.ndarray, known: np.ndarray, variances: np.ndarray, sample: Sample
) -> tuple[float, np.ndarray]:
    """The generalised regression estimator of a total (Särndal et al. 1992, eq. 6.4.1 and 6.6.3).

    Args:
        values: (n,), values of the sampled examples.
        known: (N, k), auxiliary variables of all examples.
        variances: (N,), assumed relative variances around the fit.
        sample: the sample of n examples.

    Returns:
        the total over all N, and the residuals (n,) times their g-weights, which give its variance.
    """
    own, x = sample.own, known[sample.examples]
    weights = 1 / (own * variances[sample.examples])
    # Least squares by QR on columns of unit length: the columns may be proportional, and one may be all zeros.
    scaled = x * np.sqrt(weights)[:, None]
    lengths = np.sqrt((scaled**2).sum(axis=0))
    lengths[lengths == 0] = 1.0
    inverse = np.linalg.pinv(scaled / lengths, rcond=1e-8) / lengths[:, None]
    slopes = inverse @ (values * np.sqrt(weights))
    residuals = values - x @ slopes
    total = float((known @ slopes).sum() + (residuals / own).sum())
    missing = known.sum(axis=0) - (x / own[:, None]).sum(axis=0)
    corrections = 1 + own * np.sqrt(weights) * (missing @ inverse)
    return total, residuals * corrections
