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

import lsweep
from lsweep import render
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


def line(surface: lsweep.Surface, ax: Axes, title: str, clip: float = 10.0) -> None:
    """Loss and accuracy along a line as `lsweep render` draws them, with one legend for the whole figure."""
    render.line(surface, ax, title=title, log=True, clip=clip)
    _one_legend(ax)


def path(
    surface: lsweep.Surface, ax: Axes, title: str, levels: list[float] | int, name: str | None = None
) -> None:
    """A training's path as `lsweep render` draws it, its plane stretched to fill the panel, one legend for all.

    Args:
        surface: with the path.
        ax: the panel.
        title: its title.
        levels: of the loss.
        name: of the path in the legend, where panels show several; None: the trail's own.
    """
    render.trajectory(surface, ax, title=title, log=True, levels=levels)
    ax.set_aspect("auto")
    if name is not None and (legend := ax.get_legend()):
        legend.get_texts()[0].set_text(name)
    _one_legend(ax)


def _one_legend(ax: Axes) -> None:
    panel = ax.get_shared_x_axes().get_siblings(ax)  # an accuracy has axes of its own, and the legend
    own = next((legend for each in panel if (legend := each.get_legend())), None)
    if own is None:
        return
    if not ax.figure.legends:
        names = [text.get_text() for text in own.get_texts()]
        ax.figure.legend(own.legend_handles, names, loc="outside lower center", ncols=4, frameon=False)
    own.remove()


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
