"""The axes of a sweep: random, interpolation, eigenvectors, principal axes, files."""

from __future__ import annotations

from lsweep.directions.build import (
    Sources,
    Tensors,
    check_fit,
    fingerprint,
    interpolate,
    lay_flat,
    make,
    moved,
    moving,
    normalize,
    random,
    resolve,
    select,
)

__all__ = [
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
