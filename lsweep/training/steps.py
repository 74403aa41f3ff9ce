"""Steps between checkpoints: norms and histograms of the weights, and cosines with the descent direction.

The gradient is that of the mean loss over the whole first split, without weight decay, at the checkpoint where a step
starts. BatchNorm's running statistics are the constants of that checkpoint, as in a sweep. With evaluate.batchnorm
"recalibrate" each layer normalises with the statistics of its batch, and the gradient includes their derivatives, as
in training.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lsweep.comm import Comm
from lsweep.config import CurvatureConfig, DirectionsConfig
from lsweep.directions import eigenvectors
from lsweep.directions.build import moving
from lsweep.evaluate import device
from lsweep.evaluate.curvature.operator import pack
from lsweep.evaluate.problem import Placement, Problem
from lsweep.models import batchnorm, checkpoint, parameters
from lsweep.models.parameters import WeightSpace
from lsweep.models.trail import Trail
from lsweep.tools.progress import Progress, Silent

log = logging.getLogger("lsweep")
BINS = 200


@dataclass(frozen=True)
class Steps:
    """The steps along a trail of n checkpoints, for the p parameters selected by `directions.include` and `exclude`.

    Attributes:
        epochs: (n,), the epochs of the checkpoints.
        names: (p,), the names of the parameters.
        norms: (n,), ‖θ‖ over all p parameters.
        tensors: (n, p), the norm of each parameter.
        lengths: (n − 1,), the length of the step from each checkpoint to the next.
        gradients: (n − 1,), ‖∇L‖ at the start of the step.
        cosines: (n − 1,), between the step and −∇L; NaN where one of them is zero or not finite.
        edges: (`BINS` + 1,), the bins of the histograms, from −w to w, where w is the largest absolute weight.
        counts: (n, `BINS`), the number of weights per bin, for parameters with two or more dimensions.
    """

    epochs: np.ndarray
    names: tuple[str, ...]
    norms: np.ndarray
    tensors: np.ndarray
    lengths: np.ndarray
    gradients: np.ndarray
    cosines: np.ndarray
    edges: np.ndarray
    counts: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON types; numbers that are not finite become None."""

        def plain(values: np.ndarray) -> list[Any]:
            return [plain(v) if v.ndim else (v.item() if np.isfinite(v) else None) for v in values]

        return {
            key: list(value) if isinstance(value, tuple) else plain(value)
            for key, value in vars(self).items()
        }


def along(
    recipe: DirectionsConfig,
    curvature: CurvatureConfig,
    problem: Problem,
    placement: Placement,
    trail: Trail,
    comm: Comm,
    progress: Progress | None = None,
) -> Steps:
    """Follow a trail in this process and restore the model. Two checkpoints are in memory at a time.

    Raises:
        InputError: a checkpoint does not fit the network, or nothing moves.
    """
    moved = moving(placement.space, recipe.include, recipe.exclude)
    before = copy.deepcopy(problem.model.state_dict())
    shown = progress or Silent()
    shown.start(len(trail.checkpoints), 0)
    try:
        with device.threads_of(comm):
            return _follow(curvature, problem, placement, trail, moved, shown)
    finally:
        shown.stop()
        problem.model.load_state_dict(before)


def _follow(
    curvature: CurvatureConfig,
    problem: Problem,
    placement: Placement,
    trail: Trail,
    moved: Sequence[bool],
    progress: Progress,
) -> Steps:
    space = placement.space
    largest = max(_largest(tensors, moved) for tensors in _walk(problem, trail, space))
    edges = np.linspace(-largest, largest, BINS + 1)
    tensors, counts, lengths, gradients, cosines = [], [], [], [], []
    slope = previous = None
    last = len(trail.checkpoints) - 1
    for index, at in enumerate(_walk(problem, trail, space)):
        here = pack(at, moved)
        tensors.append([float(t.double().norm()) for t, moves in zip(at, moved, strict=True) if moves])
        counts.append(_histogram(at, moved, edges))
        if previous is not None and slope is not None:
            step = here - previous
            lengths.append(float(np.linalg.norm(step)))
            gradients.append(float(np.linalg.norm(slope)))
            with np.errstate(divide="ignore", invalid="ignore"):
                cosines.append(float(-step @ slope / np.float64(lengths[-1] * gradients[-1])))
        previous, slope = here, None if index == last else _gradient(curvature, problem, placement, moved)
        progress.advance(1)
    return Steps(
        epochs=np.array([epoch.number for epoch in trail.checkpoints]),
        names=tuple(e.name for e, moves in zip(space.entries, moved, strict=True) if moves),
        norms=np.sqrt((np.array(tensors) ** 2).sum(axis=1)),
        tensors=np.array(tensors),
        lengths=np.array(lengths),
        gradients=np.array(gradients),
        cosines=np.array(cosines),
        edges=edges,
        counts=np.array(counts),
    )


def _walk(problem: Problem, trail: Trail, space: WeightSpace) -> Iterator[list[torch.Tensor]]:
    """Load one checkpoint after another into the model, and yield its parameters."""
    for epoch in trail.checkpoints:
        file = trail.path(epoch)
        checkpoint.fit(problem.model, checkpoint.read(file), str(file))
        yield [t.detach().cpu() for t in parameters.tensors_of(problem.model, space)]


def _gradient(
    curvature: CurvatureConfig, problem: Problem, placement: Placement, moved: Sequence[bool]
) -> np.ndarray:
    """∇L at the model's current weights."""
    with eigenvectors.at_centre(curvature, problem, placement, moved) as (hessian, evaluator):
        if problem.calibration is None:
            return hessian.gradient()
        examples = len(next(iter(problem.splits.values())))
        most = batchnorm.BATCH_SIZE
        # No batch may be a single example, because that has no variance.
        hessian.batch_size = next((size for size in range(most, 1, -1) if examples % size != 1), most)
        with batchnorm.batch_statistics(batchnorm.with_statistics(evaluator.net.model)):
            return hessian.gradient()


def _weights(tensors: Sequence[torch.Tensor], moved: Sequence[bool]) -> list[torch.Tensor]:
    return [t for t, moves in zip(tensors, moved, strict=True) if moves and t.dim() >= 2]


def _largest(tensors: Sequence[torch.Tensor], moved: Sequence[bool]) -> float:
    found = [float(t.abs().max()) for t in _weights(tensors, moved) if t.numel()]
    return max((v for v in found if np.isfinite(v)), default=0.0) or 1.0


def _histogram(tensors: Sequence[torch.Tensor], moved: Sequence[bool], edges: np.ndarray) -> np.ndarray:
    total = np.zeros(len(edges) - 1, dtype=np.int64)
    for tensor in _weights(tensors, moved):
        total += np.histogram(tensor.double().numpy(), edges)[0]
    return total
