"""Set-up of a sweep: directions, evaluator, identity and file header."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.directions import Tensors, agreement, eigenvectors, trail_axes
from lsweep.engine import choose, compatibility
from lsweep.errors import ConfigError, InputError
from lsweep.evaluate import device
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.flat_parameters import evaluation_mode
from lsweep.evaluate.interface import Evaluator
from lsweep.evaluate.kernels import folding
from lsweep.evaluate.objective import Supervised, check_labels
from lsweep.evaluate.problem import Problem
from lsweep.evaluate.sampling.example_losses import Neighbours
from lsweep.evaluate.vectorized import VectorizedEvaluator, vectorize
from lsweep.models import parameters
from lsweep.models.parameters import WeightSpace
from lsweep.store import Header, choose_mode, reader, schema
from lsweep.tools import provenance
from lsweep.tools.stopwatch import Stopwatch

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class Prepared:
    """All that a sweep needs but its file.

    Attributes:
        config: with the axes' ranges, where a trail decided them.
        mode: of the store.
        device: this rank's.
        evaluator: this rank's, on the model that it borrowed.
        full: the same of all examples in the model's own precision, one point after another.
        header: what the file says, complete on rank 0.
        points_at_once: points that share their arithmetic; the tile must be as large.
        neighbours: what the evaluator asks and tells of single examples' losses, where it does.
    """

    config: Config
    mode: str
    device: torch.device
    evaluator: Evaluator
    full: ExactEvaluator
    header: Header
    points_at_once: int = 1
    neighbours: Neighbours | None = None


@contextmanager
def prepare(
    config: Config,
    problem: Problem,
    comm: Comm,
    output: Path | None,
    explicit: Sequence[Tensors] | None = None,
    clock: Stopwatch | None = None,
) -> Iterator[Prepared]:
    """Collective: make directions and an evaluator, and say what the file will be; see `execute`.

    `clock` is told how long directions and tuning took.

    Raises:
        InputError: on every rank alike, for anything wrong with the input.
    """
    clock = clock or Stopwatch()
    mode = choose_mode(config.store.mode, comm) if output is not None else "memory"
    chosen = device.choose_device(config.evaluate.device, comm, share_gpu=config.schedule.share_gpu)
    space = parameters.weight_space(problem.model, config.directions.space)
    with comm.together():
        compatibility.check_batchnorm(config, problem, warn=comm.is_root and explicit is None)
        if not space.entries:
            raise InputError("the network has no parameters, so there is nothing to move")
    with clock.span("directions"):
        walked = trail_axes.open_trails(config, problem.model, comm, space)
        axes_of = walked.principal if walked else None
        curved = eigenvectors.source(config, problem, comm, chosen, space)
        made = (
            list(explicit)
            if explicit is not None
            else agreement.make(config, problem.model, comm, space, axes_of, curved, output)
        )
        made, hashes = agreement.agree(comm, made, space, output)
        trajectory = walked.project(made) if walked else None
    config = trail_axes.with_ranges(config, trajectory)
    wanted = config.evaluate.batch_size
    batch_size = wanted if isinstance(wanted, int) else device.BATCH_SIZE[chosen.type]
    kept = agreement.stored(config, space, made, hashes, explicit=explicit is not None)
    # Before the model is lent: while it moves, its weights are no identity.
    identity = comm.on_root_only(lambda: _identity(config, problem, hashes)) or {}
    if walked:
        identity["trail"] = walked.sha256
    with ExitStack() as stack:
        stack.enter_context(device.threads_of(comm))
        stack.enter_context(device.repeatable())
        if config.evaluate.hessian:  # it is of the network as it is
            unfolded = list(made)
        full = evaluator = _evaluator(stack, config, problem, comm, space, made, chosen, batch_size)
        stored = comm.on_root(lambda: _stored(output))
        with comm.together():
            together = compatibility.points_at_once(config)
        joint: VectorizedEvaluator | None = None
        with clock.span("tuning"):
            if together == "auto":
                known = stored.get("points_at_once", 1) if stored else None
                together, joint = (known, None) if known else _most_at_once(comm, evaluator, problem, wanted)
            if wanted == "auto" and together == 1:
                batch_size = stored.get("batch_size") or _fastest_batch(comm, evaluator, problem, chosen)
                evaluator.batch_size = batch_size
            kind = choose.choose(config, comm, evaluator, stored.get("precision"), together)
        identity["batch_size"] = batch_size
        identity["precision"] = kind
        accuracy = choose.of(config.evaluate, kind, problem)
        if accuracy is not None:
            if together > 1:
                raise ConfigError(
                    f"evaluate.points_at_once = {together} goes with all examples in fp32 or fp64 only",
                    key="evaluate.points_at_once",
                )
            evaluator = choose.estimating(comm, evaluator, accuracy)
            evaluator.neighbours = choose.neighbours(config, comm, evaluator)
            identity.update(choose.identity(accuracy, evaluator))
        if together > 1:  # files of a time before it could be more lack the field
            evaluator = joint or _joint(comm, evaluator)
            if not isinstance(wanted, int):
                batch_size = stored.get("batch_size") or evaluator.examples_a_batch(
                    together, _largest(problem)
                )
                # No file keeps this one, which a certificate has: so it is the same in every session.
                full.batch_size = device.BATCH_SIZE[chosen.type]
            evaluator.batch_size = identity["batch_size"] = batch_size
            identity["points_at_once"] = together
        complete: Evaluator = evaluator
        curvature: dict[str, Any] = {}
        if config.evaluate.hessian:
            complete, curvature = eigenvectors.with_curvature(
                stack, config, problem, comm, space, unfolded, evaluator
            )
            identity["curvature"] = curvature
        header = Header(
            grid=config.grid,
            names=complete.names,
            identity=identity,
            config=config.to_toml(),
            provenance=_provenance(comm, problem, chosen, batch_size) if comm.is_root else {},
            directions=kept,
            columns=getattr(complete, "columns", {}),
            trajectory=trajectory,
            curvature=curvature,
        )
        neighbours = getattr(evaluator, "neighbours", None)
        yield Prepared(config, mode, chosen, complete, full, header, together, neighbours)


def _evaluator(
    stack: ExitStack,
    config: Config,
    problem: Problem,
    comm: Comm,
    space: WeightSpace,
    made: list[Tensors],
    chosen: torch.device,
    batch_size: int,
) -> ExactEvaluator:
    with comm.together():
        model = problem.model
        fold = config.evaluate.fold_batchnorm and problem.calibration is None
        if fold and isinstance(problem.objective, Supervised):
            model, space, made = _folded(problem, space, made, _dtype(config))
        evaluator = stack.enter_context(
            exact_evaluator(
                model,
                problem.splits,
                problem.objective,
                space,
                made,
                device=chosen,
                dtype=_dtype(config),
                batch_size=batch_size,
                check=check_labels if isinstance(problem.objective, Supervised) else None,
                recalibrate=problem.calibration,
            )
        )
        schema.check_names(evaluator.names)
    return evaluator


def _folded(
    problem: Problem, space: WeightSpace, made: list[Tensors], dtype: torch.dtype
) -> tuple[torch.nn.Module, WeightSpace, list[Tensors]]:
    """The network to evaluate: with BatchNorm folded where that is exact, else as it is.

    Directions that are folded are taken out of `made`: the memory for both is not there to be wasted.
    """
    try:
        folded = folding.fold(problem.model, space, made, dtype)
        batch = next(next(iter(problem.splits.values())).batches(8))
        with evaluation_mode(problem.model):
            folding.require_same(problem.model, folded.model, batch)
    except folding.Unfoldable as reason:
        if any(isinstance(m, folding.NORMS) for m in problem.model.modules()):
            log.info("BatchNorm is not folded: %s", reason)
        return problem.model, space, made
    log.info("%d BatchNorm layers are folded into the convolutions before them", len(folded.folds))
    return folded.model, folded.space, [folded.direction(made.pop(0)) for _ in range(len(made))]


def _stored(output: Path | None) -> dict[str, Any]:
    """What an existing file began with: since it is part of the result's bits, it is not measured again."""
    known = reader.read_identity(output)[0] if output is not None and output.exists() else {}
    kinds = {"batch_size": int, "points_at_once": int, "precision": str}
    return {key: known[key] for key, kind in kinds.items() if type(known.get(key)) is kind}


def _most_at_once(
    comm: Comm, evaluator: ExactEvaluator, problem: Problem, batch_size: object
) -> tuple[int, VectorizedEvaluator | None]:
    """Collective: how many points together are the fastest, and what evaluates them; 1 where nothing can.

    Args:
        batch_size: as configured: a number of examples, or whatever leaves the choice to us.
    """
    try:
        joint = _joint(comm, evaluator)
    except InputError:
        return 1, None
    net = evaluator.net
    examples = sum(len(split) for split in problem.splits.values())

    def work(count: int) -> int:
        if not isinstance(batch_size, int):
            joint.batch_size = joint.examples_a_batch(count, _largest(problem))
        (evaluator if count == 1 else joint).evaluate(np.zeros((count, len(net.directions))))
        return count * examples

    start = time.perf_counter()
    work(1)
    alone = max(comm.allgather(time.perf_counter() - start))
    most = min(choose.MOST_WEIGHTS / max(1, net.space.size), choose.LONGEST_TRIAL / alone)
    candidates = [c for c in choose.TOGETHER[net.flat.device.type] if c <= max(1, most)]
    count = choose.fastest(comm, candidates, work, repeats=2)
    if comm.is_root and count > 1:
        log.info("%d points at once are the fastest here", count)
    return count, joint


def _dtype(config: Config) -> torch.dtype:
    """Of the network that is borrowed: lower precisions are copies of it, checked against it."""
    return torch.float64 if config.evaluate.precision == "fp64" else torch.float32


def _joint(comm: Comm, evaluator: ExactEvaluator) -> VectorizedEvaluator:
    """Collective: an evaluator of several points at once over the same borrowed network.

    Raises:
        InputError: this network, objective or space does not allow it.
    """
    with comm.together():
        return vectorize(evaluator)


def _largest(problem: Problem) -> int:
    """Examples of the largest split."""
    return max(len(split) for split in problem.splits.values())


def _fastest_batch(comm: Comm, evaluator: ExactEvaluator, problem: Problem, chosen: torch.device) -> int:
    examples = len(next(iter(problem.splits.values())))
    candidates = [c for c in choose.BATCH_SIZES[chosen.type] if c <= examples] or [examples]

    def work(candidate: int) -> int:
        return evaluator.try_out(candidate, max(candidate, choose.SAMPLE[chosen.type]))

    size = choose.fastest(comm, candidates, work)
    if comm.is_root:
        log.info("%d examples a batch are the fastest here", size)
    return size


def _identity(config: Config, problem: Problem, hashes: list[str]) -> dict[str, Any]:
    """What makes two sweeps the same: a resume must match it field by field."""
    grid = config.grid
    refine = grid.refine and {"tolerance": grid.refine.tolerance, "levels": list(grid.refine.levels)}
    floating = [
        t
        for t in problem.model.state_dict().values()
        if isinstance(t, torch.Tensor) and t.is_floating_point()
    ]
    recalibrated = {}
    if problem.calibration is not None:  # files of a time before it lack the fields
        recalibrated = {"batchnorm": "recalibrate", "recalibration": problem.calibration.sha256()}
    return {
        **recalibrated,
        "weights": parameters.sha256(*floating),
        "directions": dict(zip(grid.names, hashes, strict=True)),
        "axes": {n: [a.min, a.max, a.num] for n, a in zip(grid.names, grid.axes, strict=True)},
        "refine": refine,
        "data": {split: examples.sha256() for split, examples in problem.splits.items()},
        "loss": problem.name,
        "metrics": list(config.evaluate.metrics),
        "fold_batchnorm": config.evaluate.fold_batchnorm,
    }


def _provenance(comm: Comm, problem: Problem, chosen: torch.device, batch_size: int) -> dict[str, Any]:
    return {
        **provenance.collect(),
        "parameters": sum(p.numel() for p in problem.model.parameters()),
        "examples": {split: len(examples) for split, examples in problem.splits.items()},
        "device": device.describe(chosen),
        "ranks": comm.size,
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
    }
