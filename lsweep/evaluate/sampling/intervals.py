"""Confidence intervals for the mean of all examples from a stratified sample, for losses with heavy tails.

Alpha spending (`Significance`, `spend_alpha`). If an interval is computed several times until it is narrow enough, it
has several chances to be wrong. A point has few looks: a first one, a second whose size the first plans (two stages:
Stein 1945), and a third in case that was too small. Each look spends a fixed share of α, so by Bonferroni's inequality
all intervals together hold with probability 1 - α, however the sizes were chosen. An alternative, tried on the paper's
networks: looks whose sizes grow by a half, with α spent along them (Lan & DeMets 1983), used about 1.4 times as many
examples at points that stop early, because every look costs some α and few sizes fit.

Interval (`mean`). At a look with error probability α and critical value c, the half-width is

    √( se²·(t + |γ|·(1 + 2t²)/6)² + (p·R)² )

with se and its degrees of freedom ν for a finite population in strata (`moments`; Cochran, *Sampling Techniques*,
1977), t the quantile of Student's t(ν) at c's level, and γ the skewness of the mean's distribution: the second-order
correction of Johnson (1978) and Hall (1992), on both sides. p·R is the rule of three (Hanley & Lippman-Hand 1983): p is
the largest share of examples of another kind of which a prefix contains none with probability at least α, (1 -
n/N)^(pN) = α. They would move the mean by p·R if their losses differed by R from those of their stratum, where R is the
range of the losses of a stratum, or `scale` if that is larger. This accounts for heavy tails: next to a minimum almost
every loss is 1e-4, and one in a thousand is 5. It also covers networks that ignore their input, whose losses have no
variance within a class. R is an assumption, so coverage was measured: results/bench/subset_coverage.

Insufficient in measurements, each added to the one before: Student's t; strata and a share of α for each look; the
correction for skewness; no stop while n < 25 G² (Cochran's rule). Using the larger of p·R and the correction, instead
of both in quadrature, sufficed where points stop, but not for all looks together. The losses at the centre as an
auxiliary variable (for strata, certain inclusion of the largest, or regression) did not help: next to the centre, the
example with a point's largest loss may be an ordinary one at the centre, and far from it they explain almost nothing.
The losses of neighbours explain enough only close to a point, on a refined grid: `importance`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Moments:
    """The post-stratified mean Σ W_h ȳ_h, W_h = N_h/N, and the moments of its distribution over samples.

    Attributes:
        mean: estimated mean of the population.
        variance: variance of `mean`, Σ W_h² (1 - n_h/N_h) s_h²/n_h (Cochran eq. 5.12).
        skewness: skewness of the distribution of `mean`, from the third moments within strata of at least three.
        freedom: degrees of freedom of `variance` (Satterthwaite 1946; Cochran eq. 5.16); 0 where it is 0.
        effective: size of a simple random sample from an infinite population with the same Σ W_h² (1 - n_h/N_h)/n_h;
            inf for the whole population.
    """

    mean: float
    variance: float
    skewness: float
    freedom: float
    effective: float


def moments(values: np.ndarray, strata: np.ndarray, sizes: np.ndarray) -> Moments:
    """Moments of the mean of a population, from a stratified random sample.

    A single example of a larger stratum gives no variance: sample at least two of each.

    Args:
        values: (n,) finite float64, the sample.
        strata: (n,), the stratum of each value, 0 … H-1.
        sizes: (H,), the population of each stratum; at least one example of each is in the sample.
    """
    count = len(sizes)
    seen = np.bincount(strata, minlength=count).astype(np.float64)
    share, unseen = sizes / sizes.sum(), 1 - seen / sizes
    means = np.bincount(strata, values, count) / seen
    residuals = values - means[strata]
    # Powers of losses from 1e-30 to 1e30 must neither vanish nor overflow.
    unit = float(np.abs(residuals).max()) or 1.0
    residuals = residuals / unit
    second = np.bincount(strata, residuals**2, count)
    third = np.bincount(strata, residuals**3, count)

    parts = share**2 * unseen / seen * second / np.maximum(seen - 1, 1)
    variance = parts.sum()
    mu3 = np.where(seen > 2, seen * third / np.maximum((seen - 1) * (seen - 2), 1), 0.0)
    # Without replacement, the third moment of a mean has the factor (1 - f)(1 - 2f), as the second has 1 - f.
    skewed = share**3 / seen**2 * unseen * (2 * unseen - 1) * mu3
    squares = (parts**2 / np.maximum(seen - 1, 1)).sum()
    weight = float((share**2 * unseen / seen).sum())
    return Moments(
        mean=float((share * means).sum()),
        variance=float(variance * unit**2),
        skewness=float(skewed.sum() / variance**1.5) if variance > 0 else 0.0,
        freedom=float(variance**2 / squares) if squares > 0 else 0.0,
        effective=1 / weight if weight > 0 else float("inf"),
    )


# The planned look gets the largest share; the first is for points that hardly depend on the input.
SHARES = (0.2, 0.7, 0.1)


@dataclass(frozen=True)
class Significance:
    """The significance level of one look.

    Attributes:
        alpha: error probability of its interval.
        critical: c such that |z| > c has that probability for a standard normal z; rounded up to 1e-4, so that it is
        the same on every machine.
    """

    alpha: float
    critical: float


@lru_cache(maxsize=16)
def spend_alpha(alpha: float, shares: tuple[float, ...] = SHARES) -> tuple[Significance, ...]:
    """Divide `alpha`, in (0, 1), over the looks of a point, in their order."""
    return tuple(_level(share * alpha) for share in shares)


def _level(alpha: float) -> Significance:
    return Significance(alpha, math.ceil(-NormalDist().inv_cdf(alpha / 2) * 1e4) / 1e4)


NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """Estimate of the mean over all examples from a prefix.

    Attributes:
        mean: the post-stratified mean; the plain mean for all examples; not finite if a value is not.
        standard_error: 0 for all examples, NaN if the mean is not finite; it includes a term for unseen examples, and
            so is above 0 even if the sample has no variance.
        low: lower end of the interval, NaN if the mean is not finite.
        high: upper end.
        examples: size of the prefix.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    examples: int

    @property
    def half_width(self) -> float:
        """The larger distance from the mean to an end of the interval."""
        return max(self.high - self.mean, self.mean - self.low)


def mean(
    values: np.ndarray, strata: np.ndarray, sizes: np.ndarray, level: Significance | None, scale: float = 0.0
) -> Estimate:
    """Estimate the mean over a population from a stratified random sample without replacement.

    Args:
        values: float64 (n,), the sample.
        strata: (n,), the stratum of each value, 0 … H-1.
        sizes: (H,), the population of each stratum.
        level: significance level of the look; None if the sample is the population.
        scale: assumed deviation of an example unlike all that were seen; 0 if unknown.

    Returns:
        the estimate, with an interval of infinite width if all values are equal and no scale is known. If a value is
        not finite, the ends and the error are NaN, because the mean is not finite whatever the others are.

    Raises:
        ValueError: there is no level, but the sample is not the population.
    """
    if level is None or not np.isfinite(values).all():
        return _certain(values, sizes)
    found = moments(values, strata, sizes)
    error = math.sqrt(found.variance)
    apart = max(_range_within(values, strata, len(sizes)), scale)
    unlike = unseen_share(len(values), int(sizes.sum()), level.alpha) * apart
    half = math.hypot(error * corrected_quantile(found, level), unlike) if unlike > 0 else math.inf
    error = math.hypot(error, unlike / level.critical)
    return Estimate(found.mean, error, found.mean - half, found.mean + half, len(values))


def required(
    values: np.ndarray,
    strata: np.ndarray,
    sizes: np.ndarray,
    level: Significance,
    wanted: float,
    scale: float = 0.0,
) -> int:
    """Approximate number of examples for an interval of half-width `wanted`, judged by a sample of finite values.

    Arguments as for `mean`. The standard error is assumed to shrink with √(1/n - 1/N), the skewness with √(1/n).
    """
    n, count = len(values), int(sizes.sum())
    found = moments(values, strata, sizes)
    apart = max(_range_within(values, strata, len(sizes)), scale)
    spread = found.variance / (1 / n - 1 / count)
    skewness = abs(found.skewness) * math.sqrt(n)
    low, high = n, count  # narrow enough with all examples, but perhaps not with n
    while high - low > max(1, n // 50):
        size = (low + high) // 2
        quantile = level.critical + skewness / math.sqrt(size) * (1 + 2 * level.critical**2) / 6
        error = math.sqrt(spread * (1 / size - 1 / count)) * quantile
        narrow = math.hypot(error, unseen_share(size, count, level.alpha) * apart) <= wanted
        low, high = (low, size) if narrow else (size, high)
    return high


def fraction(
    values: np.ndarray, strata: np.ndarray, sizes: np.ndarray, level: Significance | None
) -> Estimate:
    """Like `mean`, for values in [0, 1] such as an accuracy, with Wilson's interval (1927).

    The interval ignores the gain from the strata, and so is conservative. It also holds for values strictly between 0
    and 1, whose variance is at most m·(1 - m). The standard error uses the strata, and includes Wilson's 1/(2n) for
    means near 0 or 1.
    """
    if level is None or not np.isfinite(values).all():
        return _certain(values, sizes)
    found = moments(values, strata, sizes)
    share, size = min(max(found.mean, 0.0), 1.0), found.effective
    ratio = level.critical**2 / size
    middle = (share + ratio / 2) / (1 + ratio)
    half = math.sqrt(ratio * share * (1 - share) + ratio**2 / 4) / (1 + ratio)
    error = math.hypot(math.sqrt(found.variance), 1 / (2 * size))
    # Rounding must not move the mean out of its interval.
    low, high = min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)
    return Estimate(share, error, low, high, len(values))


def corrected_quantile(found: Moments, level: Significance) -> float:
    """Half-width of the interval in standard errors: Student's quantile, corrected for skewness."""
    from scipy.special import stdtrit  # a tenth of the start-up time, for few sweeps

    if found.freedom == 0:
        return level.critical
    t = float(-stdtrit(found.freedom, NORMAL.cdf(-level.critical)))
    return t + abs(found.skewness) * (1 + 2 * t**2) / 6


def unseen_share(n: int, count: int, alpha: float) -> float:
    """The largest share p of `count` examples of which a random sample of n contains none with probability at least α.

    With K = p·count of them that probability is Π (1 - n/(count - i)) over i < K, at most (1 - n/count)^K.
    """
    return math.log(alpha) / (count * math.log1p(-n / count))


def _range_within(values: np.ndarray, strata: np.ndarray, count: int) -> float:
    """The largest range of values within a stratum."""
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, strata, values)
    np.maximum.at(high, strata, values)
    return max(0.0, float((high - low).max()))


def _certain(values: np.ndarray, sizes: np.ndarray) -> Estimate:
    """The estimate without statistics: a mean that is not finite, or that of the whole population."""
    with np.errstate(invalid="ignore"):  # inf - inf
        average = float(np.mean(values))
    if not np.isfinite(values).all():
        return Estimate(average, math.nan, math.nan, math.nan, len(values))
    if len(values) != sizes.sum():
        raise ValueError(f"{len(values)} of {sizes.sum()} examples need a level for their interval")
    return Estimate(average, 0.0, average, average, len(values))
