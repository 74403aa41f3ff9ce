"""The axes of a sweep: random, interpolation, eigenvectors, principal axes, files."""

from lsweep.tools.lazy import attach

_NAMES = "Sources Tensors check_fit fingerprint interpolate lay_flat make moved moving normalize random resolve select"

__getattr__, __dir__ = attach(__name__, dict.fromkeys(["EPSILON", *_NAMES.split()], "lsweep.directions.build"))
