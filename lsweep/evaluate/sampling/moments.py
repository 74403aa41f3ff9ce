"""Mean of a finite population from a stratified sample without replacement: Cochran, *Sampling Techniques* (1977)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """The post-stratified mean Σ W_h ȳ_h, W_h = N_h/N, and how it is distributed over samples.

    Attributes:
        mean: of the population, estimated.
        variance: of `mean`, Σ W_h² (1 - n_h/N_h) s_h²/n_h (Cochran eq. 5.12).
        skewness: of `mean`'s distribution, from the third moments within strata of at least three.
        freedom: degrees of freedom of `variance` (Satterthwaite 1946; Cochran eq. 5.16); 0 where it is 0.
        effective: examples of a simple random sample from an infinite population with as small a
            Σ W_h² (1 - n_h/N_h)/n_h; inf for the whole population.
    """

    mean: float
    variance: float
    skewness: float
    freedom: float
    effective: float


def moments(values: np.ndarray, strata: np.ndarray, sizes: np.ndarray) -> Moments:
    """Moments of the mean of a population of which a stratified random sample was seen.

    A stratum of which one example of several was seen has no variance to show: take at least two of each.

    Args:
        values: (n,) finite float64, the sample.
        strata: (n,) the stratum, 0 … H-1, of each.
        sizes: (H,) examples of the population in each stratum, at least one of each in the sample.
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
    # For a mean without replacement the third moment carries (1 - f)(1 - 2f), as the second does 1 - f.
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
