"""Writes eigenvectors of the Hessian to a file that `directions.kind = "file"` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from lsweep.errors import InputError
from lsweep.grid import AXIS_NAMES
from lsweep.tools.files import replacing


def write(
    path: Path,
    values: np.ndarray,
    residuals: np.ndarray,
    vectors: Sequence[Sequence[np.ndarray]],
    nodes: np.ndarray,
    weights: np.ndarray,
    *,
    attributes: str = "{}",
) -> None:
    """Write eigenpairs and a spectral density to a file atomically.

    Datasets `eigenvalues` and `residuals` (k,), `density/nodes` and `density/weights`; groups `eigenvectors/1`, … with
    datasets "0", "1", … in parameter order, float32. The first three are also linked (hard links to the same bytes) as
    `xdirection`, `ydirection`, `zdirection`, the names of directions in the released code of [Li18].

    Args:
        path: the file; its folder is created.
        values: (k,), in decreasing order.
        residuals: (k,).
        vectors: k directions, each with one tensor per parameter.
        nodes: eigenvalues of the density, any number.
        weights: the weights of the nodes.
        attributes: JSON, stored as the attribute `curvature`.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
            file["eigenvalues"], file["residuals"] = values, residuals
            file["density/nodes"], file["density/weights"] = nodes, weights
            for number, vector in enumerate(vectors, start=1):
                for index, tensor in enumerate(vector):
                    file[f"eigenvectors/{number}/{index}"] = np.asarray(tensor, dtype="<f4")
            for axis, number in zip(AXIS_NAMES, range(1, len(vectors) + 1), strict=False):
                file[f"{axis}direction"] = file[f"eigenvectors/{number}"]
            file.attrs["curvature"] = attributes
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot write {str(path)!r}: {error}", key="output") from None
