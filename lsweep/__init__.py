"""lsweep: loss landscapes of neural networks, swept in parallel.

`lsweep.open(path)` reads a sweep's file, `lsweep.sweep(model, data, …)` makes one, `lsweep.Landscape` makes one every
few epochs of a training, `lsweep.models.build(name)` builds an example network. Importing this package touches
neither torch, MPI, HDF5 nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lsweep._version import __version__

if TYPE_CHECKING:
    from lsweep.api import sweep
    from lsweep.grid import Axis, Grid
    from lsweep.landscape import Landscape
    from lsweep.store.reader import read as open
    from lsweep.surface import Status, Surface

__all__ = ["Axis", "Grid", "Landscape", "Status", "Surface", "__version__", "open", "sweep"]

_LAZY = {
    "open": ("lsweep.store.reader", "read"),
    "sweep": ("lsweep.api", "sweep"),
    "Landscape": ("lsweep.landscape", "Landscape"),
    "Surface": ("lsweep.surface", "Surface"),
    "Status": ("lsweep.surface", "Status"),
    "Axis": ("lsweep.grid", "Axis"),
    "Grid": ("lsweep.grid", "Grid"),
}
_MODULES = ("models", "data", "directions", "render", "export", "convert", "describe", "config")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(importlib.import_module(module), attribute)
    if name in _MODULES:
        return importlib.import_module(f"lsweep.{name}")
    raise AttributeError(f"module 'lsweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY, *_MODULES])
