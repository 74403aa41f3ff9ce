"""Roughness: the variation of a surface in excess of that of a single valley."""

from __future__ import annotations

import numpy as np

_ROUNDING = 1e-12  # of the sums: less would tell two smooth valleys apart


def excess_variation(values: np.ndarray) -> float:
    """The roughness: how much further up and down one walks along all rows and columns than in single valleys.

    Σ TV(row) / Σ [(first − min) + (last − min)] − 1 over all lines of the grid along each axis, where
    TV = Σ |vᵢ₊₁ − vᵢ|. The bracket is the least variation of a line with these ends and that minimum, so the
    result is 0 exactly where every line falls to its minimum and then rises: for every quasi-convex
    surface, however steep and on however coarse a grid. Second differences would call a smooth but steep
    valley rough, and depend on the spacing.

    Args:
        values: (ny, nx) or (nx,), as a rule ln(loss), so that a factor counts alike at every height. Values that are
            not finite are passed over.

    Returns:
        At least 0; inf where no line's ends lie above its minimum but some line moves; NaN without two finite
        values on a line.
    """
    moved = least = 0.0
    count = 0
    for axis in range(values.ndim):
        for line in np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis]):
            walked = line[np.isfinite(line)]
            if len(walked) > 1:
                moved += float(np.abs(np.diff(walked)).sum())
                least += float(walked[0] + walked[-1] - 2 * walked.min())
                count += 1
    if not count:
        return float("nan")
    if least == 0:
        return float("inf") if moved > 0 else 0.0
    excess = moved / least - 1.0
    return excess if excess > _ROUNDING else 0.0
