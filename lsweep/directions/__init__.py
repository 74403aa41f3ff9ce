"""The axes of a sweep: random, interpolation, eigenvectors, principal axes, files."""

from __future__ import annotations

from lsweep.directions.build import (
    Sources,
    check_fit,
    fingerprint,
    interpolate,
    lay_flat,
    make,
    moved,
    moving,
    random,
    resolve,
    select,
)
from lsweep.directions.normalization import EPSILON, Tensors, normalize

__all__ = [
    "EPSILON",
    "Sources",
    "Tensors",
    "check_fit",
    "fingerprint",
    "interpolate",
    "lay_flat",
    "make",
    "moved",
    "moving",
    "normalize",
    "random",
    "resolve",
    "select",
]
