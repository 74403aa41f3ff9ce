"""One sweep from beginning to end: directions, evaluator, store, engine."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lsweep import agreement, device, engine, folding, provenance, weights
from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.directions import Tensors
from lsweep.errors import InputError, LsweepError
from lsweep.evaluator import LossEvaluator, borrow, evaluation_mode
from lsweep.objective import Supervised, check_labels
from lsweep.problem import Problem, build
from lsweep.progress import Progress
from lsweep.stop import Stop
from lsweep.store import Header, Store, choose_mode, open_store, prepare_output, schema
from lsweep.store.lock import Lock, acquire
from lsweep.surface import Surface
from lsweep.weights import WeightSpace

log = logging.getLogger("lsweep")

# Examples per forward pass, by kind of device: a constant, because it is part of the result's bits.
BATCH_SIZE = {"cpu": 50, "cuda": 1000, "mps": 500}
DTYPES = {"fp32": torch.float32, "fp64": torch.float64}


@dataclass(frozen=True)
class Options:
    """What a session may say that does not change the result.

    Attributes:
        progress: told how far it is, on rank 0.
        stop: asked between points.
        max_points: leave after so many points.
        retry_failed: evaluate failed points again even where nothing else is pending.
    """

    progress: Progress | None = None
    stop: Stop | None = None
    max_points: int | None = None
    retry_failed: bool = False


def sweep(
    config: Config, comm: Comm, options: Options = Options(), *, break_lock: bool = False
) -> engine.Outcome:
    """Collective: run the sweep that a configuration describes, or resume it.

    Raises:
        InputError: on every rank alike, for anything wrong with the input.
    """
    return next(sweeps([config], comm, options, break_lock=break_lock))


def sweeps(
    configs: Sequence[Config], comm: Comm, options: Options = Options(), *, break_lock: bool = False
) -> Iterator[engine.Outcome]:
    """Collective: the same one after another, for configurations of one network and one data set.

    These are built once: each building would take another share of the hosts' memory.
    """
    problem = None
    for config in configs:
        output = Path(config.output)
        with claimed(comm, output, break_lock=break_lock) as lock:
            problem = problem or build(config, comm)
            outcome, _ = execute(config, problem, comm, output, options, lock=lock)
        yield outcome


@contextmanager
def claimed(comm: Comm, output: Path, *, break_lock: bool = False) -> Iterator[Lock]:
    """Collective: see that the output can be written, and hold its lock.

    Raises:
        InputError: it cannot, or another session is writing it.
    """

    def take() -> Lock:
        prepare_output(output)
        return acquire(output, break_lock=break_lock)

    lock = comm.on_root(take)
    try:
        yield lock
    except LsweepError:
        if comm.is_root:
            lock.release()
        raise
    except BaseException:
        # Other ranks may still be writing: a lock whose holder is dead gives way, a missing one protects nobody.
        if comm.size == 1:
            lock.release()
        raise
    if comm.is_root:
        lock.release()


def execute(
    config: Config,
    problem: Problem,
    comm: Comm,
    output: Path | None,
    options: Options = Options(),
    explicit: Sequence[Tensors] | None = None,
    lock: Lock | None = None,
) -> tuple[engine.Outcome, Surface | None]:
    """Collective: sweep `problem` over `config.grid` and return how it ended, and on rank 0 the surface.

    Args:
        config: the recipe of directions, the grid, how to evaluate, schedule and store.
        problem: the network, data and objective; the model is left as it was.
        comm: the ranks.
        output: the file to create or resume; None keeps the result in memory.
        options: how this session goes about it.
        explicit: directions given as tensors, instead of the recipe.
        lock: this session's hold on `output`, looked at before each batch.

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
    batch_size = config.evaluate.batch_size or BATCH_SIZE[chosen.type]
    # Before the model is lent: while it moves, its weights are no identity.
    identity = comm.on_root_only(lambda: _identity(config, problem, hashes, batch_size)) or {}
    with ExitStack() as stack:
        stack.enter_context(device.threads_of(comm))
        stack.enter_context(device.repeatable())
        evaluator = _evaluator(stack, config, problem, comm, space, made, chosen, batch_size)
        header = Header(
            grid=config.grid,
            names=evaluator.names,
            identity=identity,
            config=config.to_toml(),
            provenance=_provenance(comm, chosen, batch_size) if comm.is_root else {},
            directions=agreement.stored(config, space, made, hashes, explicit=explicit is not None),
            columns=evaluator.columns,
        )
        store = open_store(output, mode, comm, header, config.store.sync_seconds)
        if lock is not None:
            store.guard = lock.check
        outcome = _run(_scheduled(config, comm, chosen), comm, store, evaluator, options)
    return outcome, store.surface()


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


def _run(
    config: Config, comm: Comm, store: Store, evaluator: LossEvaluator, options: Options
) -> engine.Outcome:
    try:
        outcome = engine.run(
            config,
            comm,
            store,
            evaluator,
            progress=options.progress,
            stop=options.stop,
            max_points=options.max_points,
            retry_failed=options.retry_failed,
        )
    except BaseException:
        if comm.size == 1:  # with other ranks in their loops it would hang: closing is collective
            with closing(store):
                store.sync()
        raise
    store.close()
    return outcome


def _scheduled(config: Config, comm: Comm, chosen: torch.device) -> Config:
    """Collective: "auto" is static, which needs no communication, unless the ranks' devices are of several kinds."""
    if config.schedule.kind != "auto":
        return config
    mixed = len(set(comm.allgather(device.describe(chosen)))) > 1
    kind: Literal["static", "dynamic"] = "dynamic" if mixed else "static"
    return dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, kind=kind))


def _identity(config: Config, problem: Problem, hashes: list[str], batch_size: int) -> dict[str, Any]:
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
        "batch_size": batch_size,
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
