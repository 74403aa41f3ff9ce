"""Training trajectories in xarray datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lsweep.errors import InputError
from lsweep.grid import AXIS_NAMES
from lsweep.surface import Trajectory

if TYPE_CHECKING:
    import xarray


PATH = {"epochs": "epoch", "learning_rates": "learning_rate", "trails": "trail"}


def path_variables(path: Trajectory) -> dict[str, Any]:
    """Variables along the dimension `checkpoint`."""
    variables: dict[str, Any] = {}
    for name, values in zip(AXIS_NAMES, path.coordinates.T, strict=False):
        variables[f"trajectory_{name}"] = (
            "checkpoint",
            values,
            {"long_name": f"{name} of a checkpoint", "units": "1"},
        )
    for field, name in PATH.items():
        variables[f"trajectory_{name}"] = (
            "checkpoint",
            getattr(path, field),
            {"long_name": f"{name} of a checkpoint"},
        )
    return variables


def path_attributes(path: Trajectory) -> str:
    """Attributes of the whole trajectory, in JSON."""
    values = {name: getattr(path, name).tolist() for name in ("shares", "explained")}
    return json.dumps({"names": list(path.names), "captured": path.captured, **values})


def path_of(data: xarray.Dataset, ndim: int) -> Trajectory | None:
    """The trajectory in a dataset, or None. Raises InputError if it is damaged."""
    names = [f"trajectory_{name}" for name in (*AXIS_NAMES[:ndim], *PATH.values())]
    about = json_of(data.attrs, "trajectory", dict)
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


def json_of(attributes: Mapping[Any, Any], name: str, kind: type) -> Any:
    """A decoded JSON attribute; empty if it is absent or of another type."""
    try:
        value = json.loads(attributes.get(name, "null"))
    except (TypeError, ValueError, RecursionError):
        value = None
    return value if isinstance(value, kind) else kind()
