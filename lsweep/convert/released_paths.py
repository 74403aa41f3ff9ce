"""Direction files and projected trajectories of the code released with [Li18].

Directions: groups `xdirection`, `ydirection` with datasets "0", "1", … in parameter order, and, where they are
principal axes, `explained_variance_ratio_`; they are read by `foreign.read_direction_file`. A trajectory:
`proj_xcoord`, `proj_ycoord`, one number per checkpoint.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from lsweep.errors import FileFormatError, InputError
from lsweep.store import probe
from lsweep.store.validation import checked, is_there, open_file, require_file
from lsweep.surface import Trajectory
from lsweep.tools.files import write_bytes


def read_projection(path: str | Path, *, trusted: bool = False) -> Trajectory:
    """Read a projected trajectory, `proj_xcoord` and `proj_ycoord`.

    Epochs count the rows from 0; learning rates and the captured shares are unknown, NaN.

    Raises:
        FileFormatError: no such file, or not what it should be.
    """
    path = Path(path)
    if not trusted:
        require_file(path)
        probe.require(path, read_projection)
    with open_file(path) as file:
        x, y = (
            np.asarray(checked(file, f"proj_{axis}coord", kinds="fiu", ndim=1)[...], dtype=np.float64)
            for axis in "xy"
        )
    if len(x) != len(y) or not len(x):
        raise FileFormatError(
            f"{path.name}: proj_xcoord and proj_ycoord must be as long as each other, got {len(x)} and {len(y)}",
            key="proj_xcoord",
        )
    return Trajectory(
        coordinates=np.stack([x, y], axis=1),
        epochs=np.arange(len(x), dtype=np.int32),
        learning_rates=np.full(len(x), np.nan),
        trails=np.zeros(len(x), dtype=np.int32),
        names=(path.stem,),
        captured=float("nan"),
        shares=np.full(2, np.nan),
        explained=np.full(2, np.nan),
    )


def write_projection(trajectory: Trajectory, path: Path) -> list[str]:
    """Write the first trail of a trajectory as the released code's `proj_xcoord` and `proj_ycoord`.

    Returns:
        What the file cannot hold, a phrase each.

    Raises:
        InputError: the trajectory is not of a plane, or the file cannot be written.
    """
    if trajectory.coordinates.shape[1] != 2:
        raise InputError("a projection of the released code is one onto a plane of two axes", key="to")
    own = trajectory.trails == 0
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for index, axis in enumerate("xy"):
            file[f"proj_{axis}coord"] = trajectory.coordinates[own, index]
    write_bytes(path, content.getvalue())
    lost = []
    if len(trajectory.names) > 1:
        lost.append(f"one trail alone has a place, {trajectory.names[0]!r}; left out: {trajectory.names[1:]}")
    if not np.isnan(trajectory.learning_rates[own]).all():
        lost.append("no place for epochs and learning rates")
    return lost


def read_explained(path: str | Path, *, trusted: bool = False) -> np.ndarray | None:
    """The shares of the variance that a file of principal directions tells (k,), or None.

    Raises:
        FileFormatError: they are not what they should be.
    """
    path = Path(path)
    if not trusted:
        require_file(path)
        probe.require(path, read_explained)
    with open_file(path) as file:
        if not is_there(file, "explained_variance_ratio_"):
            return None
        return np.asarray(
            checked(file, "explained_variance_ratio_", kinds="f", ndim=1)[...], dtype=np.float64
        )


def write_directions(
    directions: Mapping[str, list[np.ndarray]], path: Path, explained: np.ndarray | None = None
) -> None:
    """Write directions as the released code does: groups `xdirection`, …, datasets "0", "1", …

    Args:
        directions: axis → tensors in parameter order; their types stay.
        path: where to; the file appears whole or not at all.
        explained: the share of the variance of each axis, where they are principal axes.

    Raises:
        InputError: the file cannot be written.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for axis, tensors in directions.items():
            for index, tensor in enumerate(tensors):
                file[f"{axis}direction/{index}"] = tensor
        if explained is not None:
            file["explained_variance_ratio_"] = explained
    write_bytes(path, content.getvalue())
