"""Roughness: the relative excess of the total variation over that of a profile with a single minimum."""

from __future__ import annotations

import numpy as np

_ROUNDING = 1e-12  # rounding error of the sums; a smaller excess counts as 0


def excess_variation(values: np.ndarray) -> float:
    """The roughness: the relative excess of the total variation along all rows and columns over single valleys.

    Σ TV(row) / Σ [(first − min) + (last − min)] − 1 over all lines of the grid along each axis, where
    TV = Σ |vᵢ₊₁ − vᵢ|. The bracket is the smallest variation of a line with these ends and this minimum, so the
    result is 0 if and only if every line falls to its minimum and then rises. This holds for every quasi-convex
    surface, however steep, and on any grid. Second differences would call a smooth but steep valley rough, and they
    depend on the spacing.

    Args:
        values: (ny, nx) or (nx,), usually ln(loss), so that a factor counts equally at every height. Values that are
            not finite are skipped.

    Returns:
        At least 0; inf if no line's ends lie above its minimum but some line varies; NaN if no line has two finite
        values.
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
