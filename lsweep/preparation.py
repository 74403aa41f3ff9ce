"""Before a sweep: directions on which all ranks agree, an evaluator, and what makes the sweep the one it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lsweep import agreement, device, folding, provenance, tuning, weights
from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.directions import Tensors
from lsweep.errors import InputError
from lsweep.evaluator import LossEvaluator, borrow, evaluation_mode
from lsweep.objective import Supervised, check_labels
from lsweep.problem import Problem
from lsweep.store import Header, choose_mode, reader, schema
from lsweep.weights import WeightSpace

log = logging.getLogger("lsweep")

# Examples per forward pass, by kind of device: a constant, because it is part of the result's bits.
BATCH_SIZE = {"cpu": 50, "cuda": 1000, "mps": 500}
DTYPES = {"fp32": torch.float32, "fp64": torch.float64}


@dataclass(frozen=True)
class Prepared:
    """All that a sweep needs but its file.

    Attributes:
        mode: of the store.
        device: this rank's.
        evaluator: this rank's, on the model that it borrowed.
        header: what the file says, complete on rank 0.
    """

    mode: str
    device: torch.device
    evaluator: LossEvaluator
    header: Header


@contextmanager
def prepare(
    config: Config,
    problem: Problem,
    comm: Comm,
    output: Path | None,
    explicit: Sequence[Tensors] | None = None,
) -> Iterator[Prepared]:
    """Collective: make directions and an evaluator, and say what the file will be; see `execute`.

    Raises:
        InputError: on every rank alike, for anything wrong with the input.
    """
    mode = choose_mode(config.store.mode, comm) if output is not None else "memory"
    chosen = device.choose_device(config.evaluate.device, comm, share_gpu=config.schedule.share_gpu)
    space = weights.weight_space(problem.model, config.directions.space)
    with comm.together():
        if not space.entries:
            raise InputError("the network has no parameters, so there is nothing to move")
    made = list(explicit) if explicit is not None else agreement.make(config, problem.model, comm, space)
    made, hashes = agreement.agree(comm, made, output)
    wanted = config.evaluate.batch_size
    batch_size = wanted if isinstance(wanted, int) else BATCH_SIZE[chosen.type]
    # Before the model is lent: while it moves, its weights are no identity.
    identity = comm.on_root_only(lambda: _identity(config, problem, hashes)) or {}
    with ExitStack() as stack:
        stack.enter_context(device.threads_of(comm))
        stack.enter_context(device.repeatable())
        evaluator = _evaluator(stack, config, problem, comm, space, made, chosen, batch_size)
        if wanted == "auto":
            batch_size = evaluator.batch_size = _fastest_batch(comm, evaluator, problem, output, chosen)
        header = Header(
            grid=config.grid,
            names=evaluator.names,
            identity={**identity, "batch_size": batch_size},
            config=config.to_toml(),
            provenance=_provenance(comm, chosen, batch_size) if comm.is_root else {},
            directions=agreement.stored(config, space, made, hashes, explicit=explicit is not None),
            columns=evaluator.columns,
        )
        yield Prepared(mode, chosen, evaluator, header)


def _evaluator(
    stack: ExitStack,
    config: Config,
    problem: Problem,
    comm: Comm,
    space: WeightSpace,
    made: list[Tensors],
    chosen: torch.device,
    batch_size: int,
) -> LossEvaluator:
    with comm.together():
        model = problem.model
        if config.evaluate.fold_batchnorm and isinstance(problem.objective, Supervised):
            model, space, made = _folded(problem, space, made, DTYPES[config.evaluate.precision])
        evaluator = stack.enter_context(
            borrow(
                model,
                problem.splits,
                problem.objective,
                space,
                made,
                device=chosen,
                dtype=DTYPES[config.evaluate.precision],
                batch_size=batch_size,
                check=check_labels if isinstance(problem.objective, Supervised) else None,
            )
        )
        schema.check_names(evaluator.names)
    return evaluator


def _folded(
    problem: Problem, space: WeightSpace, made: list[Tensors], dtype: torch.dtype
) -> tuple[torch.nn.Module, WeightSpace, list[Tensors]]:
    """The network to evaluate: with BatchNorm folded where that is exact, else as it is."""
    try:
        folded = folding.fold(problem.model, space, made, dtype)
        batch = next(next(iter(problem.splits.values())).batches(8))
        with evaluation_mode(problem.model):
            folding.require_same(problem.model, folded.model, batch)
    except folding.Unfoldable as reason:
        if any(isinstance(m, folding.NORMS) for m in problem.model.modules()):
            log.info("BatchNorm is not folded: %s", reason)
        return problem.model, space, made
    log.info("%d BatchNorm layers are folded into the convolutions before them", folded.count)
    return folded.model, folded.space, folded.directions


def _fastest_batch(
    comm: Comm, evaluator: LossEvaluator, problem: Problem, output: Path | None, chosen: torch.device
) -> int:
    """Collective: what the file began with, since it is part of the result's bits; else what is measured to be best."""

    def stored() -> int:
        known = reader.read_identity(output)[0] if output is not None and output.exists() else {}
        size = known.get("batch_size", 0)
        return size if isinstance(size, int) and size > 0 else 0

    size = comm.on_root(stored)
    if size:
        return size
    examples = len(next(iter(problem.splits.values())))
    candidates = [c for c in tuning.CANDIDATES[chosen.type] if c <= examples] or [examples]

    def work(candidate: int) -> int:
        return evaluator.try_out(candidate, max(candidate, tuning.SAMPLE[chosen.type]))

    size = tuning.fastest(comm, candidates, work)
    if comm.is_root:
        log.info("%d examples a batch are the fastest here", size)
    return size


def _identity(config: Config, problem: Problem, hashes: list[str]) -> dict[str, Any]:
    """What makes two sweeps the same: a resume must match it field by field."""
    grid = config.grid
    floating = [
        t
        for t in problem.model.state_dict().values()
        if isinstance(t, torch.Tensor) and t.is_floating_point()
    ]
    return {
        "weights": weights.sha256(*floating),
        "directions": dict(zip(grid.names, hashes, strict=True)),
        "axes": {n: [a.min, a.max, a.num] for n, a in zip(grid.names, grid.axes, strict=True)},
        "data": {split: examples.sha256() for split, examples in problem.splits.items()},
        "loss": problem.name,
        "metrics": list(config.evaluate.metrics),
        "precision": config.evaluate.precision,
        "fold_batchnorm": config.evaluate.fold_batchnorm,
    }


def _provenance(comm: Comm, chosen: torch.device, batch_size: int) -> dict[str, Any]:
    return {
        **provenance.collect(),
        "device": device.describe(chosen),
        "ranks": comm.size,
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
    }
