"""Conversion between surfaces and files of other programs: the released code's HDF5, CSV, netCDF, xarray, pandas.

`convert(source, target)` finds out what the source is and goes by the target's suffix. Importing this package
imports none of h5py, xarray and pandas.
"""

from __future__ import annotations

from lsweep.convert.formats import convert, load

__all__ = ["convert", "load"]
