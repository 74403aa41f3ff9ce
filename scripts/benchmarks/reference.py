"""Losses of every example in strict fp32 at points of a plane, kept in a folder outside of the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lsweep.comm import SerialComm
from lsweep.config import Config
from lsweep.directions import agreement
from lsweep.evaluate import problem
from lsweep.evaluate.kernels import folding
from lsweep.models import parameters


class Reference:
    """The truth that estimates are held against; every point is evaluated once, and then read.

    Args:
        config: of the sweep; one split, `Supervised`.
        cache: folder for one npz a point.
    """

    def __init__(self, config: Config, cache: Path) -> None:
        self._problem = problem.build(config, SerialComm())
        space = parameters.weight_space(self._problem.model, "weights")
        made = agreement.make(config.directions, config.grid.names, self._problem.model, SerialComm(), space)
        self._folded = folding.fold(self._problem.model, space, made, torch.float32)
        self._model = self._folded.model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._moving = parameters.tensors_of(self._folded.model, self._folded.space)
        self._theta = [tensor.detach().clone() for tensor in self._moving]
        self._directions = [self._folded.direction(axis) for axis in made]
        [self._split] = self._problem.splits.values()
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)

    @property
    def labels(self) -> np.ndarray:
        """(N,) classes, in the data's order."""
        return np.concatenate([target.numpy() for _, target in self._split.batches(50)])

    def losses(self, point: np.ndarray) -> np.ndarray:
        """(N,) float64, in the data's order, at coordinates (x, y)."""
        path = self._cache / f"{point[0]:+.6f}_{point[1]:+.6f}.npz"
        if not path.exists():
            unfinished = path.with_suffix(".tmp.npz")
            np.savez(unfinished, loss=self._evaluate(point))
            unfinished.replace(path)
        loss: np.ndarray = np.load(path)["loss"]
        return loss

    @torch.no_grad()
    def _evaluate(self, point: np.ndarray) -> np.ndarray:
        for tensor, centre, *along in zip(self._moving, self._theta, *self._directions, strict=True):
            tensor.copy_(centre + sum(float(a) * d for a, d in zip(point, along, strict=True)))
        found = []
        for inputs, target in self._split.batches(50):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            found.append(self._problem.objective.measure(self._model(inputs), target)["loss"][0].double())
        return torch.cat(found).numpy()
