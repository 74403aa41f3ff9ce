"""Surfaces as netCDF-4 files."""

from __future__ import annotations

import io
from pathlib import Path

from lsweep.convert.columns import missing
from lsweep.convert.dataset import from_dataset, library, to_dataset
from lsweep.errors import FileFormatError, InputError
from lsweep.surface import Surface


def encode(surface: Surface) -> bytes:
    """The bytes of a netCDF-4 file; see `dataset.to_dataset`. Raises MissingExtra."""
    data = to_dataset(surface)
    try:
        import h5netcdf  # noqa: F401 - xarray's own error would not name the package to install
    except ModuleNotFoundError as error:
        raise missing("netCDF", "h5netcdf", error) from None
    content = io.BytesIO()
    data.to_netcdf(content, engine="h5netcdf")
    return content.getvalue()


def read(path: str | Path, *, trusted: bool = False) -> Surface:
    """Read a netCDF-4 file; see `dataset.from_dataset`.

    Raises:
        FileFormatError: the file does not exist or is not a valid surface.
        MissingExtra: xarray or h5netcdf is not installed.
    """
    from lsweep.convert import recognise
    from lsweep.store import probe
    from lsweep.store.validation import require_file

    xarray, path = library(), Path(path)
    if not trusted:
        require_file(path)
        probe.require(path, read)
    recognise.require_whole(path, trusted=True)  # h5netcdf would follow a link
    try:
        data = xarray.load_dataset(path, engine="h5netcdf", decode_times=False)
    except ModuleNotFoundError as error:
        raise missing("netCDF", "h5netcdf", error) from None
    except Exception as error:  # h5py, h5netcdf and xarray raise many types for a damaged file
        raise FileFormatError(
            f"{str(path)!r} is not a readable netCDF-4 file: {error}", key=str(path)
        ) from None
    try:
        return from_dataset(data)
    except InputError as error:
        raise FileFormatError(f"{path.name}: {error}", key=error.key) from None
