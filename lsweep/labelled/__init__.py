"""Surfaces with labelled dimensions: xarray's Dataset, pandas' DataFrame, netCDF files. The only importer of these.

None of them is imported before a function needs it.
"""
