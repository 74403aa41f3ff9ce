"""Direction files and projected trajectories of the code released with [Li18].

A direction file has groups `xdirection`, `ydirection` with datasets "0", "1", … in parameter order and, if the
directions are principal axes, `explained_variance_ratio_`; it is read by `validation.read_direction_file`. A trajectory
file has `proj_xcoord` and `proj_ycoord` with one number per checkpoint.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from lsweep.errors import FileFormatError, InputError
from lsweep.store.validation import checked, is_there, open_file, probed
from lsweep.surface import Trajectory
from lsweep.tools.files import write_bytes


@probed
def read_projection(path: Path) -> Trajectory:
    """Read a projected trajectory, `proj_xcoord` and `proj_ycoord`.

    Epochs number the rows from 0; learning rates and captured shares are unknown (NaN).

    Raises:
        FileFormatError: the file does not exist or is invalid.
    """
    with open_file(path) as file:
        x, y = (
            np.asarray(checked(file, f"proj_{axis}coord", kinds="fiu", ndim=1)[...], dtype=np.float64)
            for axis in "xy"
        )
    if len(x) != len(y) or not len(x):
        raise FileFormatError(
            f"{path.name}: proj_xcoord and proj_ycoord must have the same length > 0, got {len(x)} and {len(y)}",
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
        Phrases on what the file cannot store.

    Raises:
        InputError: the trajectory does not lie in a plane, or the file cannot be written.
    """
    if trajectory.coordinates.shape[1] != 2:
        raise InputError(
            f"a projection of the released code needs a plane, got {trajectory.coordinates.shape[1]} axes",
            key="to",
        )
    own = trajectory.trails == 0
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for index, axis in enumerate("xy"):
            file[f"proj_{axis}coord"] = trajectory.coordinates[own, index]
    write_bytes(path, content.getvalue())
    lost = []
    if len(trajectory.names) > 1:
        lost.append(f"can store only one trail, {trajectory.names[0]!r}; left out: {trajectory.names[1:]}")
    if not np.isnan(trajectory.learning_rates[own]).all():
        lost.append("cannot store epochs and learning rates")
    return lost


@probed
def read_explained(path: Path) -> np.ndarray | None:
    """The explained variance ratios in a file of principal directions, (k,), or None.

    Raises:
        FileFormatError: they are not a one-dimensional array of floats.
    """
    with open_file(path) as file:
        if not is_there(file, "explained_variance_ratio_"):
            return None
        return np.asarray(
            checked(file, "explained_variance_ratio_", kinds="f", ndim=1)[...], dtype=np.float64
        )


def write_directions(
    directions: Mapping[str, list[np.ndarray]], path: Path, explained: np.ndarray | None = None
) -> None:
    """Write directions in the format of the released code: groups `xdirection`, …, datasets "0", "1", …

    Args:
        directions: axis → tensors in parameter order; dtypes are kept.
        path: the file to write; it is written atomically.
        explained: the explained variance ratio of each axis, if they are principal axes.

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
