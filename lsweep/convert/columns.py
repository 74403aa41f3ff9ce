"""Long-form columns of a surface, as arrays or a pandas data frame, and the names of its metrics in other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lsweep.errors import InputError, MissingExtra
from lsweep.surface import DERIVED, Status, Surface

if TYPE_CHECKING:
    import pandas

REAL = ("curvature/residual_min", "curvature/residual_max")  # the other columns are whole numbers


def flat_columns(surface: Surface) -> dict[str, np.ndarray]:
    """A surface in long form: name → (points,), with coordinates first, then metrics, status and other columns."""
    order = tuple(reversed(list(surface.axes)))
    mesh = dict(zip(order, np.meshgrid(*(surface.axes[name] for name in order), indexing="ij"), strict=True))
    extra = {short(name): values for name, values in surface.columns.items()}
    table = {name: mesh[name] for name in surface.axes} | dict(surface.metrics) | {"status": surface.status}
    table |= {name: values for name, values in extra.items() if name not in surface.metrics}
    table |= {"seconds": surface.seconds, "rank": surface.rank}
    return {name: np.asarray(values).reshape(-1) for name, values in table.items()}


def to_frame(surface: Surface) -> pandas.DataFrame:
    """A surface as a `pandas.DataFrame` in long form: one row per point, x fastest; see `flat_columns`.

    `status` is categorical. Raises MissingExtra if pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise missing("a data frame", "pandas", error) from None
    table: dict[str, Any] = flat_columns(surface)
    words = [status.name.lower() for status in Status]
    table["status"] = pandas.Categorical.from_codes(surface.status.reshape(-1).astype(np.int8), words)
    return pandas.DataFrame(table)


def surface_of(
    axes: Mapping[str, np.ndarray],
    arrays: Mapping[str, np.ndarray],
    status: np.ndarray,
    path: Path | None = None,
) -> Surface:
    """A surface from arrays named as in `flat_columns`: metrics, columns, seconds and rank.

    Raises:
        InputError: an accuracy is not a fraction.
    """
    arrays, done = dict(arrays), status == Status.DONE
    seconds = arrays.pop("seconds", np.full(status.shape, np.nan))
    rank = _whole(arrays.pop("rank", np.full(status.shape, -1)), nan=-1)
    columns = _columns(arrays)
    metrics = {
        name: np.where(done, values.astype(np.float64), np.nan)
        for name, values in arrays.items()
        if name.isidentifier()
    }
    for name, values in metrics.items():
        if name.split("_")[0] == "accuracy" and (values[np.isfinite(values)] > 1).any():
            raise InputError(
                f"{name} must be a fraction in [0, 1], got values above 1; divide per cent by 100", key=name
            )
    metrics.setdefault("accuracy", np.full(status.shape, np.nan))
    return Surface(
        axes=axes,
        metrics=metrics,
        status=status,
        seconds=seconds.astype(np.float32),
        rank=rank,
        path=path,
        columns=columns,
    )


def short(column: str) -> str:
    """A column's name without a slash, which netCDF forbids; eigenvalues have the names of their metrics."""
    name = column.replace("/", "_")
    return name.removeprefix("curvature_") if name.removeprefix("curvature_") in DERIVED else name


def missing(what: str, package: str, error: ModuleNotFoundError) -> Exception:
    """The error to raise for a missing package; the original error if a different module is missing."""
    if error.name != package:
        return error
    return MissingExtra(
        f"{what} needs {package}, which is not installed: pip install '.[xarray]' in lsweep's clone",
        key=package,
    )


def _columns(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove the columns that are not metrics from the arrays and return them."""
    names = ("batch_size", "examples", "precision", *REAL, "curvature/products")
    columns = {name: arrays.pop(short(name)) for name in names if short(name) in arrays}
    columns |= {name: _whole(values) for name, values in columns.items() if name not in REAL}
    if "eig_min" in arrays and "eig_max" in arrays:
        columns |= {f"curvature/{name}": arrays[name] for name in ("eig_min", "eig_max")}
        order = [*(n for n in arrays if n not in DERIVED), *(n for n in DERIVED if n in arrays)]
        arrays |= {name: arrays.pop(name) for name in order}
    return columns


def _whole(values: np.ndarray, nan: int = 0) -> np.ndarray:
    return np.clip(np.nan_to_num(values, nan=nan), -1, 2**31 - 1).astype(np.int32)
