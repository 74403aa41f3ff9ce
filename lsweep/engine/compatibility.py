"""Checks for settings that do not fit together or do not fit the network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from lsweep.config import DirectionsConfig, EvaluateConfig
from lsweep.directions.build import resolve
from lsweep.errors import ConfigError
from lsweep.evaluate.problem import Problem
from lsweep.grid import Grid
from lsweep.models.batchnorm import with_statistics

log = logging.getLogger("lsweep")


def points_at_once(evaluate: EvaluateConfig, grid: Grid) -> int | Literal["auto"]:
    """The number of points at once: 1 if points cannot share their work, or if other settings save more.

    Raises:
        ConfigError: the configuration requests more.
    """
    reasons = {
        'the metric "hessian"': evaluate.hessian,
        'evaluate.batchnorm = "recalibrate"': evaluate.batchnorm == "recalibrate",
    }
    together = evaluate.points_at_once
    for reason in (reason for reason, holds in reasons.items() if holds):
        if together not in (1, "auto"):
            raise ConfigError(
                f"evaluate.points_at_once = {together} cannot be combined with {reason}; set it to 1",
                key="evaluate.points_at_once",
            )
        together = 1
    estimated = evaluate.relative_error is not None or evaluate.precision in ("tf32", "bf16", "fp16")
    # Refinement requests single points of a tile; the others would be computed for nothing.
    return 1 if together == "auto" and (estimated or grid.refine is not None) else together


def check_batchnorm(
    evaluate: EvaluateConfig, recipe: DirectionsConfig, axes: Sequence[str], problem: Problem, *, warn: bool
) -> None:
    """Reject unsupported treatments of running statistics, warn of those that diverge; see `lsweep.models.batchnorm`.

    Raises:
        ConfigError: recalibration is not possible with this network, with moving statistics, or in low precision.
    """
    keeps = bool(with_statistics(problem.model))
    states = recipe.space == "states"
    if evaluate.batchnorm == "recalibrate":
        wrong = ""
        if not keeps:
            wrong = "the network has no BatchNorm with running statistics"
        elif states:
            wrong = 'with directions.space = "states" they move along the directions; choose one of the two'
        elif evaluate.precision not in ("fp32", "fp64", "auto"):
            wrong = f"evaluate.precision = {evaluate.precision!r} is not supported with it; set fp32"
        if wrong:
            raise ConfigError(f'evaluate.batchnorm = "recalibrate": {wrong}', key="evaluate.batchnorm")
        return
    kinds = [resolve(recipe, axis).kind for axis in axes]
    if warn and keeps and not states and "interpolate" in kinds:
        log.warning(
            "between two solutions, fixed BatchNorm statistics fit none of the networks, and the loss may "
            'explode: set evaluate.batchnorm = "recalibrate" or directions.space = "states"'
        )
