"""How the figures look: lsweep's own style, panels in rows; and how far a valley reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from lsweep.render.frame import STYLE

BLUE, RED = "#0072B2", "#D55E00"  # Okabe and Ito's


@contextmanager
def panels(
    path: Path, rows: int, columns: int, *, width: float = 3.1, height: float = 2.5
) -> Iterator[np.ndarray]:
    """Axes, (rows, columns), of `width` × `height` inches each; saved when all is drawn."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, squeeze=False, figsize=(width * columns, height * rows), layout="constrained"
        )
        yield axes
        figure.savefig(path, dpi=150)
        plt.close(figure)


def frame(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(True, color="0.92", linewidth=0.5)
    ax.set_axisbelow(True)


def reach(x: np.ndarray, loss: np.ndarray, start: float, level: float, step: int) -> float | None:
    """How far from `start` the loss first exceeds `level`, going up (`step` 1) or down (-1) along x.

    Linear between points; a NaN exceeds every level. None if it never does.
    """
    at = int(np.abs(x - start).argmin())
    if not loss[at] <= level:
        return 0.0
    while 0 <= at + step < len(x):
        here, there = loss[at], loss[at + step]
        if not there <= level:
            share = (level - here) / (there - here) if np.isfinite(there) else 1.0
            return abs(float(x[at] + share * (x[at + step] - x[at]) - start))
        at += step
    return None
