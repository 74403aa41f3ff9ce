"""Surfaces as xarray datasets that follow the CF conventions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lsweep._version import __version__
from lsweep.convert.columns import missing, short, surface_of
from lsweep.errors import InputError
from lsweep.grid import AXIS_NAMES
from lsweep.surface import Status, Surface, Trajectory

if TYPE_CHECKING:
    import xarray


CONVENTIONS = "CF-1.11"
LETTERS = {
    "x": "alpha, along direction d1",
    "y": "beta, along direction d2",
    "z": "gamma, along direction d3",
}
LONG_NAMES = {
    "eig_min": "smallest eigenvalue of the Hessian of the mean loss",
    "eig_max": "largest eigenvalue of the Hessian of the mean loss",
    "eig_ratio": "|smallest / largest eigenvalue of the Hessian|",
    "seconds": "time that the point took",
    "rank": "MPI rank that evaluated the point, -1 where not done",
    "batch_size": "examples per forward pass",
    "examples": "number of examples in the mean loss",
    "precision": "arithmetic precision of the point",
    "curvature_residual_min": "residual of the smallest eigenvalue, |Hv - lambda v|",
    "curvature_residual_max": "residual of the largest eigenvalue, |Hv - lambda v|",
    "curvature_products": "products with the Hessian",
}
PATH = {
    "epochs": "epoch",
    "learning_rates": "learning_rate",
    "trails": "trail",
}  # fields of `Trajectory` → variables
TEXTS = ("provenance", "identity", "recipe", "sessions")  # attributes in JSON


def to_dataset(surface: Surface) -> xarray.Dataset:
    """A surface as an `xarray.Dataset` with dimensions [z, [y]], x, their coordinates, and one variable per metric.

    Points that are not done are NaN; `status` has CF's `flag_values` and `flag_meanings`. `seconds`, `rank` and
    `Surface.columns` are variables too; configuration, provenance and sessions are attributes (JSON). A trajectory
    is stored as `trajectory_x`, …, along the dimension `checkpoint`. The conversion is lossless.

    Raises:
        MissingExtra: xarray is not installed.
    """
    xarray = library()
    dims = tuple(reversed(list(surface.axes)))
    variables: dict[str, Any] = {
        name: (dims, values, _attributes(surface, name)) for name, values in surface.metrics.items()
    }
    for name, values in surface.columns.items():
        outside = short(name)
        if outside not in surface.metrics:
            variables[outside] = (dims, values, _attributes(surface, outside))
    variables["status"] = (dims, surface.status, _flags())
    variables["seconds"] = (dims, surface.seconds, _attributes(surface, "seconds"))
    variables["rank"] = (dims, surface.rank, _attributes(surface, "rank"))
    attributes = _about(surface)
    if surface.trajectory is not None:
        variables |= _path_variables(surface.trajectory)
        attributes["trajectory"] = _path_attributes(surface.trajectory)
    coordinates = {
        name: (name, values, {"long_name": f"coordinate {LETTERS[name]}", "units": "1"})
        for name, values in surface.axes.items()
    }
    return xarray.Dataset(variables, coordinates, attributes)


def from_dataset(data: xarray.Dataset) -> Surface:
    """A surface from a `Dataset` of `to_dataset`, or from any with dimensions x, [y, [z]] and a variable `loss`.

    Without `status`, all points count as done. Variables with other dimensions or non-numeric values are ignored.

    Raises:
        InputError: there is no dimension x or no loss, or coordinates are not finite and increasing.
    """
    axes = _axes(data)
    dims = tuple(reversed(list(axes)))
    shape = tuple(len(axes[name]) for name in dims)
    arrays = {
        str(name): np.asarray(variable.transpose(*dims).values)
        for name, variable in data.data_vars.items()
        if set(variable.dims) == set(dims) and variable.dtype.kind in "fiu"
    }
    if "loss" not in arrays:
        raise InputError(
            f"expected a variable 'loss' with the dimensions {', '.join(dims)}, found none", key="loss"
        )
    status = arrays.pop("status", np.full(shape, Status.DONE)).astype(np.uint8)
    about = {name: _json_of(data.attrs, name, list if name == "sessions" else dict) for name in TEXTS}
    return replace(
        surface_of(axes, arrays, status),
        config=str(data.attrs.get("config", "")),
        provenance=about["provenance"],
        sessions=tuple(session for session in about["sessions"] if isinstance(session, dict)),
        trajectory=_path_of(data, len(axes)),
        identity=about["identity"],
        recipe=about["recipe"],
    )


def _axes(data: xarray.Dataset) -> dict[str, np.ndarray]:
    names = [name for name in AXIS_NAMES if name in data.dims]
    if names != list(AXIS_NAMES[: len(names)]) or not names:
        raise InputError(
            f"expected the dimensions x, [y, [z]], got {', '.join(map(str, data.dims)) or 'none'}", key="x"
        )
    axes = {}
    for name in names:
        if name not in data.coords or data.coords[name].dtype.kind not in "fiu":
            raise InputError(f"the dimension {name} has no coordinates", key=name)
        values = np.asarray(data.coords[name].values, dtype=np.float64)
        if not len(values) or not np.isfinite(values).all() or not (np.diff(values) > 0).all():
            raise InputError(f"the coordinates {name} must be finite and increasing", key=name)
        axes[name] = values
    return axes


def _attributes(surface: Surface, name: str) -> dict[str, str]:
    return {
        "long_name": LONG_NAMES.get(name) or _long_name(surface, name),
        "units": "s" if name == "seconds" else "1",
    }


def _long_name(surface: Surface, name: str) -> str:
    """Description of a metric with its split."""
    for index, split in enumerate(surface.splits):
        end = f"_{split}" if index else ""
        words = {
            f"loss{end}": "mean loss",
            f"accuracy{end}": "accuracy, a fraction",
            f"loss_stderr{end}": "standard error of the mean loss",
            f"accuracy_stderr{end}": "standard error of the accuracy",
        }
        if name in words:
            return f"{words[name]}, {split} split"
    return name


def _flags() -> dict[str, Any]:
    return {
        "long_name": "status of the point",
        "flag_values": np.array([int(status) for status in Status], dtype=np.uint8),
        "flag_meanings": " ".join(status.name.lower() for status in Status),
    }


def _about(surface: Surface) -> dict[str, Any]:
    """The global attributes, such as title, source and provenance."""
    about: dict[str, Any] = {
        "Conventions": CONVENTIONS,
        "title": "Loss surface of a neural network",
        "source": f"lsweep {surface.provenance.get('lsweep', __version__)}",
        "references": "Li, Xu, Taylor, Studer, Goldstein, Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018",
    }
    if surface.config:
        about["config"] = surface.config
    values = {"sessions": list(surface.sessions)} | {n: dict(getattr(surface, n)) for n in TEXTS[:3]}
    return about | {name: json.dumps(value) for name, value in values.items() if value}


def _path_variables(path: Trajectory) -> dict[str, Any]:
    """Variables along the dimension `checkpoint`."""
    arrays = dict(zip(AXIS_NAMES, path.coordinates.T, strict=False))
    arrays |= {name: getattr(path, field) for field, name in PATH.items()}
    units = {name: {"units": "1"} for name in AXIS_NAMES}
    return {
        f"trajectory_{name}": (
            "checkpoint",
            values,
            {"long_name": f"{name} of a checkpoint", **units.get(name, {})},
        )
        for name, values in arrays.items()
    }


def _path_attributes(path: Trajectory) -> str:
    """Attributes of the whole trajectory, in JSON."""
    values = {name: getattr(path, name).tolist() for name in ("shares", "explained")}
    return json.dumps({"names": list(path.names), "captured": path.captured, **values})


def _path_of(data: xarray.Dataset, ndim: int) -> Trajectory | None:
    """The trajectory in a dataset, or None. Raises InputError if it is damaged."""
    names = [f"trajectory_{name}" for name in (*AXIS_NAMES[:ndim], *PATH.values())]
    about = _json_of(data.attrs, "trajectory", dict)
    if not about or any(name not in data or data[name].ndim != 1 for name in names):
        return None
    columns = [np.asarray(data[name].values) for name in names]
    try:
        found = Trajectory(
            coordinates=np.stack(columns[:ndim], axis=1).astype(np.float64),
            epochs=columns[ndim].astype(np.int32),
            learning_rates=columns[ndim + 1].astype(np.float64),
            trails=columns[ndim + 2].astype(np.int32),
            names=tuple(str(name) for name in about["names"]),
            captured=float(about["captured"]),
            shares=np.array(about["shares"], dtype=np.float64),
            explained=np.array(about["explained"], dtype=np.float64),
        )
    except (KeyError, TypeError, ValueError):
        raise InputError("the trajectory is damaged", key="trajectory") from None
    if not found.whole or {len(found.shares), len(found.explained)} != {ndim}:
        raise InputError("the trajectory is damaged", key="trajectory")
    return found


def _json_of(attributes: Mapping[Any, Any], name: str, kind: type) -> Any:
    """A decoded JSON attribute; empty if it is absent or of another type."""
    try:
        value = json.loads(attributes.get(name, "null"))
    except (TypeError, ValueError, RecursionError):
        value = None
    return value if isinstance(value, kind) else kind()


def library() -> Any:
    """The module xarray. Raises MissingExtra."""
    try:
        import xarray
    except ModuleNotFoundError as error:
        raise missing("a labelled data set", "xarray", error) from None
    return xarray
