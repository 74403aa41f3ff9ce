"""`lsweep.Landscape`: sweeps around a network's current weights, every few epochs of its training."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import nn

from lsweep import api
from lsweep.comm import SerialComm
from lsweep.data import from_object
from lsweep.errors import ConfigError, nearest
from lsweep.evaluate.flat_parameters import isolated
from lsweep.grid import Axis, Grid
from lsweep.surface import Surface

_OWN = ("model", "data", "test_data", "output")  # arguments of `sweep` that `Landscape` sets itself


class Landscape:
    """Sweeps a network every k epochs, from any training loop, into one file per sweep.

    The sweeps do not change the training by a single bit: weights, buffers, gradients, modes, random number generators
    and the current GPU are restored. The data are held in memory, so that every file uses the same examples, with
    random augmentations drawn once, and all directions are drawn from the same seed.

    ```python
    landscape = lsweep.Landscape(train_set, every=5, limit=1000, grid=25)
    for epoch in range(1, 101):
        train_one_epoch(model)
        landscape(epoch, model)            # landscapes/epoch_0005.h5, epoch_0010.h5, …
    ```

    In distributed training, call it on one process. The others wait at their next collective operation, whose timeout
    must be long enough.

    Args:
        data: as for `lsweep.sweep`.
        every: the number of epochs between sweeps.
        folder: the folder of the files; created when needed.
        limit: the number of examples of `data` (and of `test_data`) to use, from the first; None uses all.
        test_data: a second data set, as for `lsweep.sweep`.
        settings: further arguments of `lsweep.sweep`, such as `grid`, `loss`, `directions`. By default the device is
            that of the model, and the sweep runs in this process only.

    Raises:
        InputError: `every`, the data, the grid or the name of a setting is invalid.
    """

    def __init__(
        self,
        data: Any,
        *,
        every: int = 1,
        folder: str | Path = "landscapes",
        limit: int | None = None,
        test_data: Any = None,
        **settings: Any,
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise ConfigError(f"every must be a whole number >= 1, got {every!r}", key="every")
        known = [name for name in inspect.signature(api.sweep).parameters if name not in _OWN]
        for name in settings:
            if name not in known:
                raise ConfigError(f"Landscape has no setting {name!r}{nearest(name, known)}", key=name)
        self.every, self.folder = every, Path(folder)
        self._settings = {"comm": SerialComm(), **settings, "grid": api.grid_of(settings.get("grid"))}
        with isolated():
            self._data = from_object(data, limit=limit)
            self._test_data = None if test_data is None else from_object(test_data, limit=limit)
        self._tried = False

    def __call__(self, epoch: int, model: nn.Module) -> Surface | None:
        """Sweep if `epoch` is a multiple of `every`; the first call evaluates at least one point.

        So a loss or data that do not fit the network stop the training in its first epoch, not in its fifth.

        Args:
            epoch: the number of complete epochs, 1 after the first.
            model: the network; if it is compiled or wrapped for parallel training, the network inside is used.

        Returns:
            The surface; None if there was no sweep at this epoch, and on ranks other than 0.

        Raises:
            InputError: as in `lsweep.sweep`; also if the epoch's file exists and has other weights, for example those
                of an earlier training.
        """
        if epoch % self.every == 0:
            self._tried = True
            return self._sweep(model, output=self.path(epoch))
        if not self._tried:
            self._tried = True
            here = _one_point(self._settings["grid"])
            self._sweep(model, grid=here, certificate=0, show_progress=False)
        return None

    def path(self, epoch: int) -> Path:
        """The path of an epoch's file, whether or not it exists."""
        return self.folder / f"epoch_{epoch:04d}.h5"

    def _sweep(self, model: nn.Module, **settings: Any) -> Surface | None:
        inner = unwrapped(model)
        place = next((str(parameter.device) for parameter in inner.parameters()), "cpu")
        chosen = {"device": place, **self._settings, **settings}
        return api.sweep(inner, self._data, test_data=self._test_data, **chosen)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the user's network from inside `torch.compile` and torch's parallel wrappers.

    The wrappers' forward passes would communicate with other processes, or recompile for weights at another address.
    """
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def _one_point(grid: Grid) -> Grid:
    """The same axes, cut to the centre."""
    here = Axis(0.0, 0.0, 1)
    return Grid(here, grid.y and here, grid.z and here)
