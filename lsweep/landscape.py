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

_OWN = ("model", "data", "test_data", "output")  # arguments of `sweep` that are not for the caller to give


class Landscape:
    """Sweeps a network every k epochs, from any training loop, into one file each.

    The training goes on as if nothing had happened, to the same bits: weights, buffers, gradients, modes, generators
    of random numbers and the current GPU are as before. The data are held in memory once, so that every file has the
    same examples, random augmentations drawn once, and the directions are drawn from the same seed.

    ```python
    landscape = lsweep.Landscape(train_set, every=5, limit=1000, grid=25)
    for epoch in range(1, 101):
        train_one_epoch(model)
        landscape(epoch, model)            # landscapes/epoch_0005.h5, epoch_0010.h5, …
    ```

    Where several processes train together, one of them calls it; the others wait at their next exchange, and must
    be allowed to wait that long.

    Args:
        data: as for `lsweep.sweep`.
        every: sweep after every so many epochs.
        folder: of the files; made when it is needed.
        limit: the first examples of `data` (and of `test_data`) only; None takes all.
        test_data: a second data set, as for `lsweep.sweep`.
        settings: what `lsweep.sweep` takes besides, such as `grid`, `loss`, `directions`. The device is the
            model's own by default, and the ranks are this process alone.

    Raises:
        InputError: `every`, the data, the grid or a setting's name cannot be used.
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
                raise ConfigError(f"a sweep in a training takes no {name!r}{nearest(name, known)}", key=name)
        self.every, self.folder = every, Path(folder)
        self._settings = {"comm": SerialComm(), **settings, "grid": api.grid_of(settings.get("grid"))}
        with isolated():
            self._data = from_object(data, limit=limit)
            self._test_data = None if test_data is None else from_object(test_data, limit=limit)
        self._tried = False

    def __call__(self, epoch: int, model: nn.Module) -> Surface | None:
        """Sweep, if it is the epoch's turn; the very first call tries one point at least.

        So a loss or data that do not fit the network stop the training in its first epoch, not in its fifth.

        Args:
            epoch: how many are complete, 1 after the first.
            model: the network; of one wrapped for parallel training or compiled, the network inside is taken.

        Returns:
            The surface; None where it is not the epoch's turn, and on ranks other than 0.

        Raises:
            InputError: as `lsweep.sweep`; and the epoch's file exists and is of other weights, of an earlier training.
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
        """The file of an epoch, whether it is there or not."""
        return self.folder / f"epoch_{epoch:04d}.h5"

    def _sweep(self, model: nn.Module, **settings: Any) -> Surface | None:
        inner = unwrapped(model)
        place = next((str(parameter.device) for parameter in inner.parameters()), "cpu")
        chosen = {"device": place, **self._settings, **settings}
        return api.sweep(inner, self._data, test_data=self._test_data, **chosen)


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own network in what `torch.compile` and torch's parallel wrappers made of it.

    Their forward passes would meet the other processes, or recompile for weights at another address.
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
