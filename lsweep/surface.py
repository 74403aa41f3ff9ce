"""A sweep's result as it travels: coordinates and values in numpy arrays, wherever they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from lsweep.certificate import Certificate
from lsweep.grid import AXIS_NAMES
from lsweep.lattice import interpolate
from lsweep.refine import is_judged


class Status(IntEnum):
    """What is known of a point. Only `DONE` points carry values that a reader may trust."""

    PENDING = 0
    DONE = 1
    FAILED = 2
    SETTLED = 3


_CURVATURE = "curvature/"


def curvature_metrics(columns: Mapping[str, np.ndarray], done: np.ndarray) -> dict[str, np.ndarray]:
    """The extreme eigenvalues of the Hessian as metrics, and |λmin/λmax|; empty where none are among the columns.

    NaN where a point is not done.
    """
    if "curvature/eig_min" not in columns or "curvature/eig_max" not in columns:
        return {}
    smallest, largest = (np.where(done, columns[f"curvature/eig_{end}"], np.nan) for end in ("min", "max"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"eig_min": smallest, "eig_max": largest, "eig_ratio": np.abs(smallest / largest)}


@dataclass(frozen=True)
class Trajectory:
    """The paths of one or several trainings, projected onto the axes of a sweep by least squares ([Li18] §7).

    Attributes:
        coordinates: (n, ndim) float64, one row per checkpoint; column 0 is x. The centre θ* is at 0.
        epochs: (n,) int32.
        learning_rates: (n,) float64, of the epoch that ended at the checkpoint; NaN where unknown.
        trails: (n,) int32, an index into `names`.
        names: of the trails.
        captured: the share of the movement Σ‖θᵢ − θ*‖² that lies in the plane.
        shares: (ndim,), the same for each axis by itself.
        explained: (ndim,), a principal axis's share of the variance; NaN for other axes.
    """

    coordinates: np.ndarray
    epochs: np.ndarray
    learning_rates: np.ndarray
    trails: np.ndarray
    names: tuple[str, ...]
    captured: float
    shares: np.ndarray
    explained: np.ndarray


@dataclass(frozen=True)
class Surface:
    """Loss and other metrics over a line, plane or box of weight space.

    Attributes:
        axes: coordinates per axis, float64; keys "x"[, "y"[, "z"]], in that order.
        metrics: values per metric name ("loss", "accuracy", "loss_test", …), float64, shaped
            (nx,), (ny, nx) or (nz, ny, nx): `loss[j, i]` is the value at (y[j], x[i]). NaN where the
            point is not done (`filled` interpolates settled ones); a NaN where it is done is a result.
            Accuracy is a fraction in [0, 1]. "eig_min", "eig_max", "eig_ratio": where the sweep has curvature,
            see `curvature_metrics`.
        status: uint8 `Status` per point, shaped alike.
        seconds: float32, time that a point took; NaN where not done.
        rank: int32, the rank that evaluated a point; -1 where not done.
        config: the sweep's configuration as TOML text ("" where unknown).
        provenance: versions, commit, hardware, hashes.
        sessions: who worked on the file, oldest first, one mapping each.
        path: the file it was read from, if any.
        columns: further numbers per point, shaped alike, that say how its values came about: "batch_size",
            the examples per forward pass (smaller than the sweep's own where memory was short); see `curvature`.
        trajectory: the path of a training in this plane, where `directions.trail` named one.
        certificate: some of the points beside their full values, where they were measured (`lsweep certify`).
    """

    axes: Mapping[str, np.ndarray]
    metrics: Mapping[str, np.ndarray]
    status: np.ndarray
    seconds: np.ndarray
    rank: np.ndarray
    config: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sessions: tuple[Mapping[str, Any], ...] = ()
    path: Path | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    trajectory: Trajectory | None = None
    certificate: Certificate | None = None

    @property
    def x(self) -> np.ndarray:
        """Coordinates α along d₁, (nx,)."""
        return self.axes["x"]

    @property
    def y(self) -> np.ndarray:
        """Coordinates β along d₂, (ny,); KeyError for a line."""
        return self.axes["y"]

    @property
    def z(self) -> np.ndarray:
        """Coordinates along d₃, (nz,); KeyError for lines and planes."""
        return self.axes["z"]

    @property
    def loss(self) -> np.ndarray:
        """The mean loss of the first split, shaped like the grid."""
        return self.metrics["loss"]

    @property
    def accuracy(self) -> np.ndarray:
        """The accuracy of the first split in [0, 1], shaped like the grid; all NaN where none is defined."""
        return self.metrics["accuracy"]

    @property
    def curvature(self) -> dict[str, np.ndarray]:
        """What is known of the Hessian of the first split's loss, shaped like the grid; empty where none was asked for.

        "eig_min", "eig_max": its extreme eigenvalues; "residual_min", "residual_max": ‖Hv − λv‖ for each;
        "products": with the Hessian that they took. NaN where a point is not done; at a done point there is
        no Hessian, because the loss or a derivative of it is not finite.
        """
        found = {n.removeprefix(_CURVATURE): v for n, v in self.columns.items() if n.startswith(_CURVATURE)}
        return {n: np.where(self.done, v, np.nan) for n, v in found.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        """(nx,), (ny, nx) or (nz, ny, nx)."""
        return self.status.shape

    @property
    def ndim(self) -> int:
        """The number of axes: 1 line, 2 plane, 3 box."""
        return self.status.ndim

    @property
    def done(self) -> np.ndarray:
        """Boolean mask of the points that carry trusted values."""
        return self.status == Status.DONE

    @property
    def settled(self) -> np.ndarray:
        """Boolean mask of the points that refinement left to interpolation; see `filled`."""
        return self.status == Status.SETTLED

    def filled(self, name: str = "loss") -> np.ndarray:
        """A metric with settled points interpolated, shaped like the grid; the metric itself where none is.

        Losses are interpolated in their logarithm, as they were when the points were settled, within about
        `grid.refine.tolerance`. Other metrics are interpolated as they are, and nothing bounds their error.
        NaN where a point is neither done nor settled.
        """
        values = self.metrics[name]
        if not self.settled.any():
            return values
        known = self.done | (self.status == Status.FAILED)
        return np.where(self.settled, interpolate(values, known, log=is_judged(name)), values)

    @property
    def complete(self) -> bool:
        """Whether no point is pending."""
        return not bool((self.status == Status.PENDING).any())

    def count(self, status: Status) -> int:
        """The number of points of that status."""
        return int((self.status == status).sum())

    def __repr__(self) -> str:
        bounds = ", ".join(
            f"{name} ∈ [{self.axes[name][0]:g}, {self.axes[name][-1]:g}] × {len(self.axes[name])}"
            for name in AXIS_NAMES
            if name in self.axes
        )
        settled = f", {self.count(Status.SETTLED)} settled" if self.settled.any() else ""
        done = f"{self.count(Status.DONE)}/{self.status.size} done{settled}"
        return f"<Surface {bounds}; {done}; {', '.join(self.metrics)}>"
