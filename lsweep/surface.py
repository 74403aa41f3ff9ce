"""`Surface`: the result of a sweep as numpy arrays, with coordinates and metrics."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lsweep.certificate import Certificate
from lsweep.grid import AXIS_NAMES
from lsweep.grid.hierarchy import interpolate
from lsweep.grid.refine import is_judged


def _from_reader(module: str, name: str) -> Any:
    """Import a function of a package that reads surfaces, for the methods that are convenient in notebooks.

    That package is loaded only when such a method is called, and this module does not depend on it.
    """
    return getattr(importlib.import_module(f"lsweep.{module}"), name)


class Status(IntEnum):
    """Status of a point. Only the values of `DONE` points are valid."""

    PENDING = 0
    DONE = 1
    FAILED = 2
    SETTLED = 3


class Precision(IntEnum):
    """The precision in which a point was computed, as stored in the file's column "precision"."""

    UNKNOWN = 0
    FP64 = 1
    FP32 = 2
    TF32 = 3
    BF16 = 4
    FP16 = 5


# How a number per point is stored: its dtype and its value before the point is done.
Column = tuple[str, Any]

if TYPE_CHECKING:
    import pandas
    import xarray

SPLITS = ("train", "test")
_CURVATURE = "curvature/"
DERIVED = ("eig_min", "eig_max", "eig_ratio")  # the metrics that `curvature_metrics` returns


def curvature_metrics(columns: Mapping[str, np.ndarray], done: np.ndarray) -> dict[str, np.ndarray]:
    """The extreme eigenvalues of the Hessian and |λmin/λmax| as metrics; empty if the columns contain none.

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
        learning_rates: (n,) float64, that of the epoch that ended at the checkpoint; NaN where unknown.
        trails: (n,) int32, an index into `names`.
        names: the names of the trails.
        captured: the share of the movement Σ‖θᵢ − θ*‖² that lies in the plane.
        shares: (ndim,), this share for each axis alone.
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

    @property
    def whole(self) -> bool:
        """Whether there is at least one trail, each trail has a checkpoint, and each checkpoint has a trail."""
        return bool(self.names) and np.array_equal(np.unique(self.trails), np.arange(len(self.names)))


@dataclass(frozen=True)
class Surface:
    """Loss and other metrics over a line, plane or box of weight space.

    Attributes:
        axes: coordinates per axis, float64; keys "x"[, "y"[, "z"]], in that order.
        metrics: values per metric name ("loss", "accuracy", "loss_test", …), float64, shaped
            (nx,), (ny, nx) or (nz, ny, nx): `loss[j, i]` is the value at (y[j], x[i]). NaN where the
            point is not done (`filled` interpolates settled ones); a NaN where it is done is a result.
            Accuracy is a fraction in [0, 1]. A sweep with curvature has "eig_min", "eig_max" and "eig_ratio",
            see `curvature_metrics`.
        status: uint8 `Status` per point, same shape.
        seconds: float32, the time that a point took; NaN where not done.
        rank: int32, the rank that evaluated a point; -1 where not done.
        config: the sweep's configuration as TOML text ("" if unknown).
        provenance: versions, commit, hardware.
        sessions: the sessions that worked on the file, oldest first, one mapping each.
        path: the file it was read from, if any.
        columns: further numbers per point, same shape, that describe how its values were computed: "batch_size",
            the examples per forward pass (smaller than the sweep's setting where memory was short); see `curvature`.
        trajectory: the path of a training in this plane, if `directions.trail` named one.
        certificate: a sample of the points with their full values, if measured (`lsweep certify`).
        identity: the properties that make two sweeps the same, such as hashes of weights, directions and data.
        recipe: axis → how its direction was made, as in `[directions]`; {"kind": "explicit"} if the
            directions were given as tensors; empty if unknown.
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
    identity: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

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
        """The accuracy of the first split in [0, 1], shaped like the grid; all NaN if none is defined."""
        return self.metrics["accuracy"]

    @property
    def curvature(self) -> dict[str, np.ndarray]:
        """Curvature data of the first split's loss, shaped like the grid; empty if the sweep has no curvature.

        "eig_min", "eig_max": the extreme eigenvalues of the Hessian; "residual_min", "residual_max": ‖Hv − λv‖ of each;
        "products": the number of Hessian-vector products. NaN where a point is not done. NaN at a done point means that
        there is no Hessian, because the loss or one of its derivatives is not finite.
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
        """Boolean mask of the points with valid values."""
        return self.status == Status.DONE

    @property
    def settled(self) -> np.ndarray:
        """Boolean mask of the points that refinement interpolates instead of evaluating; see `filled`."""
        return self.status == Status.SETTLED

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the data, that of "loss" first; ("train",) if unknown."""
        try:
            data = tomllib.loads(self.config).get("data")
        except (tomllib.TOMLDecodeError, RecursionError):
            data = None
        said = data.get("split") if isinstance(data, dict) else None
        said = [said] if isinstance(said, str) else said
        first = said[0] if isinstance(said, list) and said and said[0] in SPLITS else ""
        second = next((split for split in SPLITS if f"loss_{split}" in self.metrics), "")
        first = first or next(split for split in SPLITS if split != second)
        return (first, second) if second and second != first else (first,)

    def filled(self, name: str = "loss") -> np.ndarray:
        """A metric with settled points interpolated, shaped like the grid; the metric itself if none is settled.

        The logarithms of losses are interpolated, as when the points were settled, with an error of about
        `grid.refine.tolerance`. Other metrics are interpolated directly, and their error is not bounded.
        NaN where a point is neither done nor settled.
        """
        values = self.metrics[name]
        if not self.settled.any():
            return values
        known = self.done | (self.status == Status.FAILED)
        return np.where(self.settled, interpolate(values, known, log=is_judged(name)), values)

    @property
    def complete(self) -> bool:
        """Whether all points are done, failed or settled."""
        return not bool((self.status == Status.PENDING).any())

    def count(self, status: Status) -> int:
        """The number of points of that status."""
        return int((self.status == status).sum())

    def plot(self, kind: str = "contour", ax: Any = None, **options: Any) -> Any:
        """Draw with `lsweep.render` and return the `Axes`.

        Args:
            kind: "contour", "filled", "heatmap", "surface3d", "line", "trajectory", …, a function of `lsweep.render`;
                ignored for a one-dimensional sweep, which is always drawn as a line.
            ax: the axes to draw into; None creates a figure.
            options: see `lsweep.render.look.LookOptions`.

        Raises:
            InputError: the surface cannot be drawn in this way.
        """
        return _from_reader("render.axes", "draw")(self, kind, ax, **options)

    def to_xarray(self) -> xarray.Dataset:
        """Convert to a labelled data set; see `lsweep.convert.dataset.to_dataset`. Raises MissingExtra."""
        return _from_reader("convert.dataset", "to_dataset")(self)

    @classmethod
    def from_xarray(cls, data: xarray.Dataset) -> Surface:
        """Make a surface from a data set like those of `to_xarray`; see `lsweep.convert.dataset.from_dataset`."""
        return _from_reader("convert.dataset", "from_dataset")(data)

    def to_dataframe(self) -> pandas.DataFrame:
        """Convert to one row per point, x fastest; see `lsweep.convert.columns.to_frame`. Raises MissingExtra."""
        return _from_reader("convert.columns", "to_frame")(self)

    def _repr_html_(self) -> str:
        return _from_reader("describe.notebook", "html")(self)

    def __repr__(self) -> str:
        bounds = ", ".join(
            f"{name} ∈ [{self.axes[name][0]:g}, {self.axes[name][-1]:g}] × {len(self.axes[name])}"
            for name in AXIS_NAMES
            if name in self.axes
        )
        settled = f", {self.count(Status.SETTLED)} settled" if self.settled.any() else ""
        done = f"{self.count(Status.DONE)}/{self.status.size} done{settled}"
        return f"<Surface {bounds}; {done}; {', '.join(self.metrics)}>"
