"""The axes of a sweep: random, interpolation, eigenvectors, principal axes, files."""

from lsweep.tools.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "build": "Sources check_fit fingerprint interpolate lay_flat make moved moving random resolve select",
        "normalization": "EPSILON Tensors normalize",
    },
)
