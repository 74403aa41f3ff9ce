"""Hessian at the centre: extreme eigenvalues, trace and spectral density for `lsweep curvature`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lsweep.comm import Comm
from lsweep.config import Config, DirectionsConfig
from lsweep.directions import eigenvectors
from lsweep.directions.build import moved as moved_by_recipe
from lsweep.directions.build import resolve
from lsweep.errors import ConfigError, InputError
from lsweep.evaluate import device
from lsweep.evaluate.curvature import spectrum
from lsweep.evaluate.curvature.eigensolver import Eigenpairs, largest, smallest
from lsweep.evaluate.curvature.operator import NotFinite, unpack
from lsweep.evaluate.curvature.spectrum import Density, Trace
from lsweep.evaluate.problem import Problem, place
from lsweep.models.parameters import WeightSpace
from lsweep.tools import provenance

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class CentreSettings:
    """The requested quantities.

    Attributes:
        top: number of largest eigenpairs.
        probes: number of random vectors for the density.
        steps: Lanczos steps from each of them.
        products: products with the Hessian for the trace.
    """

    top: int = 5
    probes: int = 10
    steps: int = 60
    products: int = 60


@dataclass(frozen=True)
class Centre:
    """The Hessian of the first split's mean loss at θ*, over the parameters that the directions would move.

    Attributes:
        loss: the loss at θ*.
        gradient: ‖∂L/∂w‖.
        names: names of the parameters.
        size: number of their elements.
        top: the largest eigenvalues and their vectors, in decreasing order.
        bottom: the smallest eigenvalue.
        trace, density: see `lsweep.evaluate.curvature.spectrum`.
        vectors: the vectors of `top` as directions, over all parameters of the network.
        seconds: total time.
    """

    loss: float
    gradient: float
    names: tuple[str, ...]
    size: int
    top: Eigenpairs
    bottom: Eigenpairs
    trace: Trace
    density: Density
    vectors: list[list[torch.Tensor]]
    seconds: float


def measure(config: Config, problem: Problem, comm: Comm, depth: CentreSettings = CentreSettings()) -> Centre:
    """Measure the Hessian at the centre, in this process alone.

    Raises:
        InputError: no parameter moves, the loss is not finite at the centre, or `depth` is invalid.
    """
    start = time.perf_counter()
    placement = place(config, problem.model, comm, "weights")
    space = placement.space
    moved = _moved(config.directions, config.grid.names, space)
    seed, effort = config.curvature.seed, eigenvectors.effort(config.curvature)
    with (
        device.threads_of(comm),
        eigenvectors.at_centre(config.curvature, problem, placement, moved) as (h, evaluator),
    ):
        if depth.top > h.size:
            raise InputError(f"--top {depth.top}, but only {h.size} parameters move")
        loss = float(evaluator.evaluate(np.zeros((1, 0))).values[0, 0])
        try:
            gradient = float(np.linalg.norm(h.gradient()))
            log.info("loss %.6g, %d parameters: the largest %d eigenvalues", loss, h.size, depth.top)
            top = largest(h, depth.top, effort)
            log.info("largest eigenvalue %.6g (%d products); the smallest", top.values[0], top.products)
            bottom = smallest(h, 1, effort)
            log.info("smallest eigenvalue %.6g (%d products); the trace", bottom.values[0], bottom.products)
            trace = spectrum.trace(h, depth.products, seed)
            log.info(
                "trace %.6g ± %.2g (%d products); the density", trace.value, trace.stderr, trace.products
            )
            density = spectrum.density(h, depth.probes, depth.steps, seed)
        except NotFinite:
            raise InputError("the loss has no finite Hessian at the centre") from None
        log.info("%d products with the Hessian", h.products)
    return Centre(
        loss=loss,
        gradient=gradient,
        names=tuple(e.name for e, moves in zip(space.entries, moved, strict=True) if moves),
        size=h.size,
        top=top,
        bottom=bottom,
        trace=trace,
        density=density,
        vectors=[unpack(vector, space.entries, moved) for vector in top.vectors.T],
        seconds=time.perf_counter() - start,
    )


def report(centre: Centre, config: Config, depth: CentreSettings) -> dict[str, Any]:
    """The numbers in JSON types, with their settings."""

    def pairs(found: Eigenpairs) -> list[dict[str, float]]:
        return [
            {"value": float(value), "residual": float(residual)}
            for value, residual in zip(found.values, found.residuals, strict=True)
        ]

    return {
        "model": config.model.source,
        "weights": config.model.weights,
        "loss": centre.loss,
        "gradient_norm": centre.gradient,
        "parameters": centre.size,
        "tensors": list(centre.names),
        "largest": pairs(centre.top),
        "smallest": pairs(centre.bottom),
        "converged": centre.top.converged and centre.bottom.converged,
        "ratio": abs(float(centre.bottom.values[-1] / centre.top.values[0])),
        "trace": {
            "value": centre.trace.value,
            "stderr": centre.trace.stderr,
            "products": centre.trace.products,
        },
        "density": {
            "probes": depth.probes,
            "steps": depth.steps,
            "mean": centre.density.moment(1),
            "mean_square": centre.density.moment(2),
            "share_negative": float(centre.density.cumulative(np.array([0.0]))[0]),
        },
        "precision": "fp64" if config.evaluate.precision == "fp64" else "fp32",
        "tolerance": config.curvature.tolerance,
        "seed": config.curvature.seed,
        "seconds": round(centre.seconds, 3),
        "environment": provenance.collect(),
    }


def _moved(recipe: DirectionsConfig, axes: Sequence[str], space: WeightSpace) -> list[bool]:
    """The parameters that at least one axis moves."""
    recipes = [resolve(recipe, axis) for axis in axes]
    moved = [any(axes) for axes in zip(*(moved_by_recipe(r, space) for r in recipes), strict=True)]
    if not any(moved):
        raise ConfigError(
            "directions: bias_bn, include and exclude leave no parameter to move", key="directions"
        )
    return moved
