"""Choice of the evaluator: error budget, precision, batch size, points per batch; "auto" settings are measured."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lsweep.comm import Comm
from lsweep.config import EvaluateConfig
from lsweep.engine import compatibility
from lsweep.errors import ConfigError, InputError
from lsweep.evaluate.device import BATCH_SIZE
from lsweep.evaluate.exact import ExactEvaluator
from lsweep.evaluate.problem import Problem
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.sampling import example_losses
from lsweep.evaluate.sampling.design import Tolerance
from lsweep.evaluate.sampling.example_losses import Neighbours
from lsweep.evaluate.sampling.stopping import ErrorBudget
from lsweep.evaluate.vectorized import VectorizedEvaluator, vectorize
from lsweep.grid import Grid
from lsweep.surface import Precision

log = logging.getLogger("lsweep")

BATCH_SIZES = {
    "cpu": (16, 25, 32, 50, 64, 100, 125, 200, 250),
    "cuda": (250, 500, 1000, 2000, 4000, 8000),
    "mps": (100, 250, 500, 1000),
}
# Points at once; the caches of a CPU fill up long before a GPU is busy.
TOGETHER = (1, 4, 16, 64, 256)
# Each point has its own weights, and all of them are in memory at once.
MOST_WEIGHTS = 1 << 24
# No trial takes longer than this many seconds if several points at once gain nothing.
LONGEST_TRIAL = 3.0
# Examples per trial, or one batch if that is more.
SAMPLE = {"cpu": 128, "cuda": 8000, "mps": 1000}
_REPEATS = 4

LOW = {"tf32": Precision.TF32, "bf16": Precision.BF16, "fp16": Precision.FP16}
# Lower precisions worth trying, by kind of device.
PRECISIONS = {"cpu": ["bf16"], "cuda": ["tf32", "bf16", "fp16"], "mps": ["fp16"]}


@dataclass(frozen=True)
class Choice:
    """The evaluator of a sweep and the settings that were chosen with it.

    Attributes:
        evaluator: evaluates the points of the sweep.
        precision: "fp32", "bf16", ….
        batch_size: examples per forward pass.
        points_at_once: points that are evaluated together.
        neighbours: per-example losses of neighbouring points, if the evaluator uses them.
        budget: identity fields of the error budget; empty without one.
    """

    evaluator: ExactEvaluator
    precision: str
    batch_size: int
    points_at_once: int = 1
    neighbours: Neighbours | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)


def choose(
    config: EvaluateConfig,
    grid: Grid,
    problem: Problem,
    comm: Comm,
    exact: ExactEvaluator,
    stored: Mapping[str, Any],
) -> Choice:
    """Collective: choose the evaluator over the network of `exact`.

    Args:
        config: the settings; "auto" is measured here, on all ranks at once.
        grid: the grid of the sweep.
        problem: the network, data and objective.
        comm: the ranks.
        exact: evaluates all examples, one point after another; its batch size is set here.
        stored: settings in an existing file that affect the bits of the result, and are therefore not measured again.

    Raises:
        InputError: the settings are inconsistent, or do not fit the device or the network.
    """
    with comm.together():
        together = compatibility.points_at_once(config, grid)
    joint: VectorizedEvaluator | None = None
    if together == "auto":
        known = stored.get("points_at_once", 1) if stored else None
        together, joint = (known, None) if known else _most_at_once(comm, exact, problem, config.batch_size)
    if config.batch_size == "auto" and together == 1:
        exact.batch_size = stored.get("batch_size") or _fastest_batch(comm, exact, problem)
    precision = _precision(config, grid, comm, exact, stored.get("precision"), together)
    budget = _budget(config, precision, problem)
    if budget is not None:
        if together > 1:
            raise ConfigError(
                f"evaluate.points_at_once = {together} needs all examples in fp32 or fp64",
                key="evaluate.points_at_once",
            )
        sampled = _sampled(comm, exact, budget)
        sampled.neighbours = _neighbours(config, grid, comm, sampled)
        fields = _identity(budget, sampled)
        return Choice(sampled, precision, exact.batch_size, 1, sampled.neighbours, fields)
    if together == 1:
        return Choice(exact, precision, exact.batch_size)
    with comm.together():
        joint = joint or vectorize(exact)
    if not isinstance(config.batch_size, int):
        joint.batch_size = stored.get("batch_size") or joint.examples_a_batch(together, problem.largest)
        # A certificate uses this size, which no file stores; so it must be the same in every session.
        exact.batch_size = BATCH_SIZE[exact.net.flat.device.type]
    return Choice(joint, precision, joint.batch_size, together)


def fastest(
    comm: Comm, candidates: Sequence[int], work: Callable[[int], int], *, repeats: int = _REPEATS
) -> int:
    """Collective: the candidate with the most examples per second, over all ranks together.

    Ranks share memory and caches, so all measure the same candidate at the same time. Among candidates within a few
    per cent of the best, the smallest is chosen, since it needs the least memory.

    Args:
        comm: the ranks.
        candidates: values to try, increasing.
        work: evaluates with a candidate, synchronises the device, and returns the number of examples.
        repeats: trials per candidate; the best one counts, because the first includes the selection of kernels.
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


def _most_at_once(
    comm: Comm, exact: ExactEvaluator, problem: Problem, batch_size: object
) -> tuple[int, VectorizedEvaluator | None]:
    """Collective: the fastest number of points at once, and the evaluator; 1 and None if there is none.

    Args:
        batch_size: the configured number of examples, or another value if it is to be chosen.
    """
    try:
        with comm.together():
            joint = vectorize(exact)
    except InputError:
        return 1, None
    net = exact.net
    examples = sum(len(split) for split in problem.splits.values())

    def work(count: int) -> int:
        if not isinstance(batch_size, int):
            joint.batch_size = joint.examples_a_batch(count, problem.largest)
        (exact if count == 1 else joint).evaluate(np.zeros((count, len(net.directions))))
        return count * examples

    start = time.perf_counter()
    work(1)
    alone = max(comm.allgather(time.perf_counter() - start))
    most = min(MOST_WEIGHTS / max(1, net.space.size), LONGEST_TRIAL / alone)
    count = fastest(comm, [c for c in TOGETHER if c <= max(1, most)], work, repeats=2)
    if comm.is_root and count > 1:
        log.debug("%d points at once are the fastest here", count)
    return count, joint


def _fastest_batch(comm: Comm, exact: ExactEvaluator, problem: Problem) -> int:
    examples, kind = len(next(iter(problem.splits.values()))), exact.net.flat.device.type
    candidates = [c for c in BATCH_SIZES[kind] if c <= examples] or [examples]
    size = fastest(comm, candidates, lambda size: exact.try_out(size, max(size, SAMPLE[kind])))
    if comm.is_root:
        log.debug("%d examples per batch are the fastest here", size)
    return size


def _precision(
    config: EvaluateConfig, grid: Grid, comm: Comm, exact: ExactEvaluator, stored: str | None, together: int
) -> str:
    """Collective: the configured precision; for "auto" the stored one, or else the fastest.

    The error of several points at once is not estimated: "auto" means fp32 for them.

    Raises:
        ConfigError: the device does not support it.
    """
    wanted, device = config.precision, exact.net.flat.device
    if wanted == "tf32" and device.type != "cuda":
        raise ConfigError(
            f'precision "tf32" needs a CUDA GPU, the device is {device}', key="evaluate.precision"
        )
    if wanted != "auto":
        return wanted
    # Recalibration has not been validated in lower precision.
    if config.batchnorm == "recalibrate" or (together > 1 and config.relative_error is None):
        return "fp32"
    return stored if stored is not None else _fastest_precision(config, grid, comm, exact)


def _fastest_precision(config: EvaluateConfig, grid: Grid, comm: Comm, exact: ExactEvaluator) -> str:
    tolerance, subset = config.tolerance, _subset(config)
    kinds = ["fp32", *PRECISIONS[exact.net.flat.device.type]]
    try:
        candidates = [
            _sampled(comm, exact, ErrorBudget(LOW.get(kind, Precision.FP32), tolerance, subset))
            for kind in kinds
        ]
    except InputError as error:
        if comm.is_root:
            log.debug("precision auto is fp32: %s", error)
        return "fp32"
    # Halfway between the centre and the edge, on both sides.
    points = grid.coordinates(_quarter_points(grid))

    def work(index: int) -> int:
        candidates[index].evaluate(points)
        return len(points)

    kind = kinds[fastest(comm, range(len(kinds)), work, repeats=1)]
    if comm.is_root:
        log.debug("precision %s is the fastest here at a tolerance of %g", kind, tolerance)
    return kind


def _quarter_points(grid: Grid) -> np.ndarray:
    """Flat indices of the points a quarter of the way along the grid's diagonal, and three quarters."""
    places = [[(n - 1) * quarter // 4 for n in grid.shape] for quarter in (1, 3)]
    return np.array([np.ravel_multi_index(place, grid.shape) for place in places])


def _budget(config: EvaluateConfig, precision: str, problem: Problem) -> ErrorBudget | None:
    """The error budget of a point; None for all examples in fp32 or fp64."""
    subset = _subset(config)
    if subset is None and precision not in LOW:
        return None
    return ErrorBudget(
        kind=LOW.get(precision, Precision.FP32),
        tolerance=config.tolerance,
        subset=subset,
        scale=_chance_loss(problem) if config.loss == "cross_entropy" and config.objective is None else 0.0,
        least=config.least_examples,
    )


def _subset(config: EvaluateConfig) -> Tolerance | None:
    if config.relative_error is None:
        return None
    return Tolerance(config.relative_error, config.absolute_error, config.confidence)


def _chance_loss(problem: Problem) -> float:
    """The cross entropy at chance level, 0 for data without classes."""
    tree = getattr(next(iter(problem.splits.values())), "tree", None)
    if not isinstance(tree, (tuple, list)) or len(tree) != 2 or tree[1].is_floating_point():
        return 0.0
    return math.log(max(1, len(tree[1].unique())))


def _sampled(comm: Comm, exact: ExactEvaluator, budget: ErrorBudget) -> SampledEvaluator:
    """Collective: an evaluator with that error budget. Raises InputError if objective or data do not allow it."""
    with comm.together():
        return SampledEvaluator(exact.net, exact.batch_size, budget)


def _neighbours(
    config: EvaluateConfig, grid: Grid, comm: Comm, sampled: SampledEvaluator
) -> Neighbours | None:
    """Per-example losses of neighbouring points, for subsets on a refined grid."""
    if not config.neighbours or config.relative_error is None or grid.refine is None:
        return None
    strata = {name: made.strata for name, made in sampled.designs.items()}
    if not example_losses.fits(grid, {name: len(made.order) for name, made in strata.items()}):
        if comm.is_root:
            log.info("evaluate.neighbours: per-example losses of so many points do not fit into memory")
        return None
    return Neighbours(grid, strata)


def _identity(budget: ErrorBudget, sampled: SampledEvaluator) -> dict[str, Any]:
    """Identity fields of an error budget, in JSON types."""
    found: dict[str, Any] = {"order": {name: made.sha256() for name, made in sampled.designs.items()}}
    if budget.is_low:
        found["tolerance"] = budget.tolerance
    if budget.subset is not None:
        found |= dataclasses.asdict(budget.subset)
        found["looks"] = {name: list(made.looks) for name, made in sampled.designs.items()}
    if sampled.neighbours is not None:
        found["neighbours"] = True
    return found
