"""Plot of the Hessian's spectral density, with its known eigenvalues as ticks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from lsweep.render import frame, output
from lsweep.render.axes import figure_of, settle
from lsweep.tools.files import write_bytes

POINTS = 2000
LINE, TICKS = "#0072B2", "#D55E00"  # the colour-blind safe colours of line plots


def save(
    path: str | Path,
    nodes: np.ndarray,
    weights: np.ndarray,
    *,
    size: int,
    eigenvalues: Sequence[float] = (),
    title: str = "",
    dpi: float = 200.0,
) -> Path:
    """Draw a spectral density into a PNG, PDF or SVG file.

    The curve is the discrete measure given by `nodes` and `weights`, smoothed by a Gaussian whose width, 1 % of the
    range, is noted in the figure. A single eigenvalue among `size` gives a peak of about 1 / (size · width · √2π); the
    axis ends a decade below.

    Args:
        path: the output file; its suffix gives the format.
        nodes: eigenvalues, (k,).
        weights: their shares, (k,); they sum to 1.
        size: the dimension of the space.
        eigenvalues: known eigenvalues, marked below the curve.
        title: title above the axes.
        dpi: pixels per inch of a PNG.

    Returns:
        The path.

    Raises:
        InputError: the suffix is unknown, or the file cannot be written.
    """
    path = Path(path)
    fmt = output.format_of(path)
    ends = np.concatenate([nodes, np.asarray(eigenvalues, dtype=np.float64)])
    span = float(np.ptp(ends)) or max(abs(float(ends[0])), 1e-12)
    width = 0.01 * span
    grid = np.linspace(ends.min() - 0.05 * span, ends.max() + 0.05 * span, POINTS)
    with matplotlib.rc_context(frame.STYLE):
        figure, (ax,) = figure_of("line", 1, (4.6, 3.2))
        floor = 0.1 / (size * width * np.sqrt(2 * np.pi))
        ax.semilogy(grid, np.maximum(smoothed(grid, nodes, weights, width), floor), color=LINE, linewidth=1.2)
        ax.set_ylim(floor, None)
        ax.set_xlim(float(grid[0]), float(grid[-1]))
        ax.plot(eigenvalues, [0.03] * len(eigenvalues), "|", color=TICKS, transform=ax.get_xaxis_transform())
        ax.set_xlabel(r"eigenvalue $\lambda$")
        ax.set_ylabel("density")
        frame.heading(ax, title, (f"{size} parameters", f"Gaussian of width {width:.2g}"))
        settle(figure)
        content = output.encode(figure, fmt, dpi)
    write_bytes(path, content)
    return path


def smoothed(grid: np.ndarray, nodes: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    """The density on the grid, smoothed by a Gaussian with standard deviation `width`; its integral is 1."""
    distance = (grid[:, None] - nodes[None, :]) / width
    found: np.ndarray = np.exp(-0.5 * distance**2) @ weights / (width * np.sqrt(2 * np.pi))
    return found
