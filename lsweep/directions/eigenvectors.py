"""Eigenvectors of the Hessian at the centre as directions, and the evaluator of eigenvalues at every point."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from lsweep.comm import Comm
from lsweep.comm.shared_memory import share_tree
from lsweep.config import CurvatureConfig
from lsweep.directions.normalization import Tensors
from lsweep.errors import ConfigError, DirectionsError
from lsweep.evaluate import device
from lsweep.evaluate.curvature.eigensolver import Eigenpairs, SolverSettings, largest, smallest
from lsweep.evaluate.curvature.evaluator import CurvatureEvaluator
from lsweep.evaluate.curvature.operator import Hessian, NotFinite, unpack
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.problem import Placement, Problem
from lsweep.models.parameters import WeightSpace

log = logging.getLogger("lsweep")

# Examples per pass, by kind of device: a second derivative holds several times the memory of a forward pass.
BATCH_SIZE = {"cpu": 50, "cuda": 250, "mps": 100}


def effort(config: CurvatureConfig) -> SolverSettings:
    """The solver settings of a configuration."""
    return SolverSettings(config.tolerance, config.max_products, config.seed)


def batch_size(config: CurvatureConfig, chosen: torch.device) -> int:
    """Examples per pass."""
    return config.batch_size or BATCH_SIZE[chosen.type]


def with_curvature(
    stack: ExitStack,
    config: CurvatureConfig,
    problem: Problem,
    comm: Comm,
    space: WeightSpace,
    made: list[Tensors],
    inner: ExactEvaluator,
) -> tuple[CurvatureEvaluator, dict[str, Any]]:
    """Collective: add the Hessian's eigenvalues to an evaluator; return it with their identity fields."""
    chosen = inner.net.flat.device
    size = batch_size(config, chosen)
    with comm.together():
        net = inner.net
        if net.model is not problem.model:  # folded: it has other parameters
            splits = dict(net.splits)  # on the device already
            lending = exact_evaluator(
                problem.model,
                splits,
                problem.objective,
                space,
                made,
                device=chosen,
                dtype=net.flat.dtype,
                batch_size=size,
                recalibrate=problem.calibration,
            )
            net = stack.enter_context(lending).net
        evaluator = CurvatureEvaluator(inner, net, effort(config), size)
    return evaluator, {**dataclasses.asdict(config), "batch_size": size}


def source(
    config: CurvatureConfig, problem: Problem, comm: Comm, place: Placement
) -> Callable[[Sequence[bool], Sequence[int]], list[Tensors]]:
    """The function that `build.Sources` calls for eigenvectors: collective, of moved entries and numbers.

    Number 1 is the largest eigenvalue's vector, 2 the next one's, −1 the smallest's. Each has unit norm, and its
    element of largest magnitude is positive.
    """

    def eigenvectors(moved: Sequence[bool], numbers: Sequence[int]) -> list[Tensors]:
        # The same number of threads in every session: the bits of sums depend on it.
        with device.threads_of(comm):
            found: list[Tensors] = share_tree(comm, lambda: _compute(config, problem, place, moved, numbers))
        return found

    return eigenvectors


@contextmanager
def at_centre(
    config: CurvatureConfig, problem: Problem, place: Placement, moved: Sequence[bool]
) -> Iterator[tuple[Hessian, ExactEvaluator]]:
    """The Hessian of the network at θ*, and the evaluator that has borrowed the network, on this rank."""
    size = batch_size(config, place.device)
    with device.repeatable():
        lending = exact_evaluator(
            problem.model,
            problem.splits,
            problem.objective,
            place.space,
            [],
            device=place.device,
            dtype=place.dtype,
            batch_size=size,
            recalibrate=problem.calibration,
        )
        with lending as evaluator:
            yield Hessian(evaluator.net, moved, size), evaluator


def _compute(
    config: CurvatureConfig, problem: Problem, place: Placement, moved: Sequence[bool], numbers: Sequence[int]
) -> list[Tensors]:
    with at_centre(config, problem, place, moved) as (hessian, _):
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
                    ends[sign] = compute(hessian, count, effort(config))
        except NotFinite:
            raise DirectionsError(
                "the loss has no finite Hessian at the centre, so there are no eigenvectors",
                key="directions.kind",
            ) from None
    return [_direction(ends[1 if n > 0 else -1], n, place.space, moved) for n in numbers]


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
