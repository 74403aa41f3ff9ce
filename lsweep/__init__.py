"""lsweep: loss landscapes of neural networks, swept in parallel.

`lsweep.open(path)` reads a sweep's file, `lsweep.sweep(model, data, …)` makes one, `lsweep.Landscape` makes one every
few epochs of a training, `lsweep.models.build(name)` builds an example network. Importing this package touches
neither torch, MPI, HDF5 nor matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep._version import __version__
from lsweep.tools.lazy import attach

if TYPE_CHECKING:
    from lsweep.api import sweep
    from lsweep.grid import Axis, Grid
    from lsweep.landscape import Landscape
    from lsweep.store.reader import read as open
    from lsweep.surface import Status, Surface

__all__ = ["Axis", "Grid", "Landscape", "Status", "Surface", "__version__", "open", "sweep"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "open": "lsweep.store.reader:read",
        "sweep": "lsweep.api",
        "Landscape": "lsweep.landscape",
        "Surface": "lsweep.surface",
        "Status": "lsweep.surface",
        "Axis": "lsweep.grid",
        "Grid": "lsweep.grid",
    },
    ("models", "data", "directions", "render", "export", "convert", "describe", "config"),
)
