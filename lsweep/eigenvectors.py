"""Eigenvectors of the Hessian at the centre, as directions for a sweep: computed by rank 0, for all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from lsweep import device
from lsweep.comm import Comm
from lsweep.config import Config, CurvatureConfig
from lsweep.directions import Tensors
from lsweep.eigenpairs import Effort, Eigenpairs, largest, smallest
from lsweep.errors import ConfigError, DirectionsError
from lsweep.evaluator import LossEvaluator, borrow
from lsweep.hessian import Hessian, NotFinite, unpack
from lsweep.problem import Problem
from lsweep.sharing import share_tree
from lsweep.weights import WeightSpace

log = logging.getLogger("lsweep")

# Examples per pass, by kind of device: a second derivative holds several times the memory of a forward pass.
BATCH_SIZE = {"cpu": 50, "cuda": 250, "mps": 100}


def effort(config: CurvatureConfig) -> Effort:
    """How hard a configuration asks to try."""
    return Effort(config.tolerance, config.max_products, config.seed)


def batch_size(config: CurvatureConfig, chosen: torch.device) -> int:
    """Examples per pass."""
    return config.batch_size or BATCH_SIZE[chosen.type]


def source(
    config: Config, problem: Problem, comm: Comm, chosen: torch.device, space: WeightSpace
) -> Callable[[Sequence[bool], Sequence[int]], list[Tensors]]:
    """What `directions.Sources` asks for eigenvectors: a collective function of moved entries and numbers.

    Number 1 is the largest eigenvalue's vector, 2 the next one's, −1 the smallest's. Each has unit norm, and its
    element of largest magnitude is positive.
    """

    def eigenvectors(moved: Sequence[bool], numbers: Sequence[int]) -> list[Tensors]:
        found: list[Tensors] = share_tree(
            comm, lambda: _compute(config, problem, chosen, space, moved, numbers)
        )
        return found

    return eigenvectors


@contextmanager
def at_centre(
    config: Config, problem: Problem, chosen: torch.device, space: WeightSpace, moved: Sequence[bool]
) -> Iterator[tuple[Hessian, LossEvaluator]]:
    """The Hessian of the network at θ*, and the evaluator that has borrowed it, on this rank alone."""
    dtype = torch.float64 if config.evaluate.precision == "fp64" else torch.float32
    size = batch_size(config.curvature, chosen)
    with device.repeatable():
        lending = borrow(
            problem.model,
            problem.splits,
            problem.objective,
            space,
            [],
            device=chosen,
            dtype=dtype,
            batch_size=size,
        )
        with lending as evaluator:
            yield Hessian(evaluator.lent, moved, size), evaluator


def _compute(
    config: Config,
    problem: Problem,
    chosen: torch.device,
    space: WeightSpace,
    moved: Sequence[bool],
    numbers: Sequence[int],
) -> list[Tensors]:
    with at_centre(config, problem, chosen, space, moved) as (hessian, _):
        most = max(abs(number) for number in numbers)
        if most > hessian.size:
            raise ConfigError(
                f"directions.eigenvector = {most}, but only {hessian.size} parameters move",
                key="directions.eigenvector",
            )
        ends = {}
        try:
            for sign, compute in ((1, largest), (-1, smallest)):
                count = max((number * sign for number in numbers), default=0)
                if count > 0:
                    ends[sign] = compute(hessian, count, effort(config.curvature))
        except NotFinite:
            raise DirectionsError(
                "the loss has no finite Hessian at the centre, so there are no eigenvectors",
                key="directions.kind",
            ) from None
    return [_direction(ends[1 if n > 0 else -1], n, space, moved) for n in numbers]


def _direction(pairs: Eigenpairs, number: int, space: WeightSpace, moved: Sequence[bool]) -> Tensors:
    place = number - 1 if number > 0 else number
    log.info(
        "eigenvector %d of the Hessian: eigenvalue %.6g, residual %.2g%s",
        number,
        pairs.values[place],
        pairs.residuals[place],
        "" if pairs.converged else " (not converged: raise curvature.max_products)",
    )
    return unpack(pairs.vectors[:, place], space.entries, moved)
