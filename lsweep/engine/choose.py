"""Choice of the evaluator: error budget, precision, batch size, points at once; measured where "auto" asks for it."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lsweep.comm import Comm
from lsweep.config import Config, EvaluateConfig
from lsweep.errors import ConfigError, InputError
from lsweep.evaluate.exact import ExactEvaluator
from lsweep.evaluate.problem import Problem
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.sampling import example_losses as fields
from lsweep.evaluate.sampling.design import Tolerance
from lsweep.evaluate.sampling.example_losses import Neighbours
from lsweep.evaluate.sampling.stopping import ErrorBudget
from lsweep.grid import Grid
from lsweep.surface import Precision

BATCH_SIZES = {
    "cpu": (16, 25, 32, 50, 64, 100, 125, 200, 250),
    "cuda": (250, 500, 1000, 2000, 4000, 8000),
    "mps": (100, 250, 500, 1000),
}
# Points at once; a processor's caches are full long before a GPU is busy.
TOGETHER = {"cpu": (1, 4, 16, 64, 256), "cuda": (1, 4, 16, 64, 256), "mps": (1, 4, 16, 64, 256)}
# No more of them than have so many weights together: each point has a network of its own.
MOST_WEIGHTS = 1 << 24
# Nor than would take longer than so many seconds if nothing were gained by it.
LONGEST_TRIAL = 3.0
# Examples per trial, or one batch if that is more.
SAMPLE = {"cpu": 128, "cuda": 8000, "mps": 1000}
_REPEATS = 4


def fastest(
    comm: Comm, candidates: Sequence[int], work: Callable[[int], int], *, repeats: int = _REPEATS
) -> int:
    """Collective: the candidate with the most examples per second, over all ranks together.

    Ranks share memory and caches, so all measure the same candidate at the same time. Of candidates that are
    as good as the best to within a few per cent the smallest is taken: it needs the least memory.

    Args:
        comm: the ranks.
        candidates: increasing.
        work: evaluates with a candidate and returns how many examples that were; waits for the device.
        repeats: trials of each, of which the best counts: in the first one kernels are chosen and weights are packed.
    """
    rates = np.zeros((repeats, len(candidates)))
    for index, candidate in enumerate(candidates):
        for repeat in range(repeats):
            comm.barrier()
            start = time.perf_counter()
            examples = work(candidate)
            rates[repeat, index] = examples / (time.perf_counter() - start)
    together = np.sum(comm.allgather(rates.max(axis=0)), axis=0)
    good = together >= 0.97 * together.max()
    return comm.bcast(int(np.asarray(candidates)[good][0]))


log = logging.getLogger("lsweep")

LOW = {"tf32": Precision.TF32, "bf16": Precision.BF16, "fp16": Precision.FP16}
# Lower precisions worth trying, by kind of device.
PRECISIONS = {"cpu": ["bf16"], "cuda": ["tf32", "bf16", "fp16"], "mps": ["fp16"]}


def of(config: EvaluateConfig, kind: str, problem: Problem) -> ErrorBudget | None:
    """What the configuration asks of a point; None for all examples in fp32 or fp64."""
    subset = _subset(config)
    if subset is None and kind not in LOW:
        return None
    return ErrorBudget(
        kind=LOW.get(kind, Precision.FP32),
        tolerance=config.tolerance,
        subset=subset,
        scale=_guess(problem) if config.loss == "cross_entropy" and config.objective is None else 0.0,
        least=config.least_examples,
    )


def estimating(comm: Comm, evaluator: ExactEvaluator, accuracy: ErrorBudget) -> SampledEvaluator:
    """Collective: an evaluator for that accuracy over the network that `evaluator` borrowed.

    Raises:
        InputError: this objective or data set does not allow it.
    """
    with comm.together():
        return SampledEvaluator(evaluator.net, evaluator.batch_size, accuracy)


def neighbours(config: Config, comm: Comm, evaluator: SampledEvaluator) -> Neighbours | None:
    """What tells points of their neighbours' examples: where examples are chosen, and points come coarse to fine."""
    wanted = config.evaluate.neighbours and config.evaluate.relative_error is not None
    if not wanted or config.grid.refine is None:
        return None
    strata = {name: made.strata for name, made in evaluator.designs.items()}
    if not fields.fits(config.grid, {name: len(made.order) for name, made in strata.items()}):
        if comm.is_root:
            log.info("evaluate.neighbours: so many examples' losses at so many points are too many to keep")
        return None
    return Neighbours(config.grid, strata)


def identity(accuracy: ErrorBudget, evaluator: SampledEvaluator) -> dict[str, Any]:
    """What of it makes two sweeps the same, in JSON types."""
    found: dict[str, Any] = {"order": {name: made.sha256() for name, made in evaluator.designs.items()}}
    if accuracy.is_low:
        found["tolerance"] = accuracy.tolerance
    if accuracy.subset is not None:
        found |= dataclasses.asdict(accuracy.subset)
        found["looks"] = {name: list(made.looks) for name, made in evaluator.designs.items()}
    if evaluator.neighbours is not None:
        found["neighbours"] = True
    return found


def choose(config: Config, comm: Comm, evaluator: ExactEvaluator, stored: str | None, together: int) -> str:
    """Collective: the precision that is asked for; for "auto" what the file began with, or the fastest here.

    Of several points together errors are not estimated: "auto" is fp32 for them.

    Raises:
        ConfigError: the device does not have it.
    """
    wanted, device = config.evaluate.precision, evaluator.net.flat.device
    if wanted == "tf32" and device.type != "cuda":
        raise ConfigError(
            f'precision "tf32" needs a CUDA GPU, the device is {device}', key="evaluate.precision"
        )
    if wanted != "auto":
        return wanted
    # Lower precisions are not checked for recalibration.
    if config.evaluate.batchnorm == "recalibrate" or (
        together > 1 and config.evaluate.relative_error is None
    ):
        return "fp32"
    return stored if stored is not None else _fastest_precision(config, comm, evaluator)


def _fastest_precision(config: Config, comm: Comm, evaluator: ExactEvaluator) -> str:
    tolerance, subset = config.evaluate.tolerance, _subset(config.evaluate)
    kinds = ["fp32", *PRECISIONS[evaluator.net.flat.device.type]]
    try:
        candidates = [
            estimating(comm, evaluator, ErrorBudget(LOW.get(kind, Precision.FP32), tolerance, subset))
            for kind in kinds
        ]
    except InputError as error:
        if comm.is_root:
            log.info("precision auto is fp32: %s", error)
        return "fp32"
    # Half way out along each axis, on both sides: neither at the minimum nor where all is chaos.
    points = config.grid.coordinates(_quarter_points(config.grid))

    def work(index: int) -> int:
        candidates[index].evaluate(points)
        return len(points)

    kind = kinds[fastest(comm, range(len(kinds)), work, repeats=1)]
    if comm.is_root:
        log.info("precision %s is the fastest here at a tolerance of %g", kind, tolerance)
    return kind


def _subset(config: EvaluateConfig) -> Tolerance | None:
    if config.relative_error is None:
        return None
    return Tolerance(config.relative_error, config.absolute_error, config.confidence)


def _quarter_points(grid: Grid) -> np.ndarray:
    """Flat indices of the points a quarter of the way along the grid's diagonal, and three quarters."""
    places = [[(n - 1) * quarter // 4 for n in grid.shape] for quarter in (1, 3)]
    return np.array([np.ravel_multi_index(place, grid.shape) for place in places])


def _guess(problem: Problem) -> float:
    """The cross entropy of a guess among the classes of the data, 0 where there are none."""
    tree = getattr(next(iter(problem.splits.values())), "tree", None)
    if not isinstance(tree, (tuple, list)) or len(tree) != 2 or tree[1].is_floating_point():
        return 0.0
    return math.log(max(1, len(tree[1].unique())))
