"""Stratified order of the examples: every prefix is a stratified sample of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Fewer than two examples of a stratum give no variance; rounding may remove half an example.
_LEAST = 2.5


@dataclass(frozen=True)
class Strata:
    """An order of N examples and the strata along it.

    Attributes:
        order: (N,) int64, a permutation of the examples.
        of: (N,) int64, the stratum of each example, in that order.
        sizes: (H,) int64, the number of examples per stratum.
    """

    order: np.ndarray
    of: np.ndarray
    sizes: np.ndarray

    def mean_and_error(self, values: np.ndarray) -> tuple[float, float]:
        """Post-stratified mean over all N examples, and its standard error (Cochran 1977, §5.4 and §5A.9).

        Args:
            values: (n,), the values of the first n examples in order, or (n, k) for k means at once.

        Returns:
            mean and standard error, the latter with the finite-population correction; floats, or (k,).
        """
        drawn = self.of[: len(values)]
        mean, variance = 0.0, 0.0
        for stratum, size in enumerate(self.sizes):
            own = values[drawn == stratum]
            share = size / len(self.order)
            mean = mean + share * own.mean(axis=0)
            if len(own) < size:
                variance = variance + share**2 * own.var(axis=0, ddof=1) / len(own) * (1 - len(own) / size)
        return mean, np.sqrt(variance)


def stratify(labels: np.ndarray, least: int, seed: int = 0) -> Strata:
    """Order examples so that every prefix contains the classes in proportion, up to one example.

    Args:
        labels: (N,), integers; any other labels form one stratum.
        least: length of the shortest prefix to be used; classes with fewer than two examples in it are merged.
        seed: seed of the order within a class.
    """
    classes = np.unique(labels, return_inverse=True)[1].reshape(-1) if labels.dtype.kind in "iu" else None
    stratum = _together(classes, least) if classes is not None else np.zeros(len(labels), dtype=np.int64)
    sizes = np.bincount(stratum)
    rng = np.random.Generator(np.random.PCG64(seed))
    place = np.empty(len(labels))
    for index, size in enumerate(sizes):
        # Evenly over the whole order, so that the first n of N contain round(n · size / N) of them.
        place[stratum == index] = (rng.permutation(size) + 0.5) / size
    order = np.argsort(place, kind="stable")
    return Strata(order, stratum[order], sizes)


def _together(classes: np.ndarray, least: int) -> np.ndarray:
    """Merge classes, the rarest first, until each is expected often enough among `least` examples."""
    counts = np.bincount(classes)
    needed = _LEAST * len(classes) / max(1, least)
    stratum_of = np.empty(len(counts), dtype=np.int64)
    current, held = 0, 0.0
    for index in np.argsort(counts, kind="stable"):
        stratum_of[index] = current
        held += counts[index]
        if held >= needed:
            current, held = current + 1, 0.0
    if held:  # the rest is too small for a stratum of its own
        stratum_of[stratum_of == current] = max(0, current - 1)
    return stratum_of[classes]
