"""Conversion between surfaces and other formats: the released code's HDF5, CSV, netCDF, xarray and pandas.

`convert(source, target)` recognises the source by its contents and chooses the target format by the suffix. Importing
this package does not import h5py, xarray or pandas.
"""

from __future__ import annotations

from lsweep.convert.formats import convert, load

__all__ = ["convert", "load"]
