"""Set-up of a sweep: directions, evaluator, identity and file header, in steps that return what they found."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.directions import agreement, eigenvectors, pca, trail_axes
from lsweep.directions.build import Tensors
from lsweep.engine import compatibility
from lsweep.engine.choose import Choice, choose
from lsweep.engine.plan import Plan
from lsweep.evaluate import device
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.flat_parameters import evaluation_mode
from lsweep.evaluate.interface import Evaluator
from lsweep.evaluate.kernels import folding
from lsweep.evaluate.objective import Supervised, check_labels
from lsweep.evaluate.problem import Placement, Problem, place
from lsweep.evaluate.sampling.example_losses import Neighbours
from lsweep.models import parameters
from lsweep.store import Header, StoredDirections, choose_mode, reader, schema
from lsweep.surface import Trajectory
from lsweep.tools import provenance
from lsweep.tools.stopwatch import Stopwatch

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class Agreed:
    """Directions on which all ranks agree.

    Attributes:
        tensors: one direction per axis.
        hashes: per axis, the SHA-256 that identifies it.
        stored: the part of them that the file stores.
        trajectory: the path of the trails in their plane, if the configuration names trails.
        trails: per trail, the SHA-256 of its checkpoints.
    """

    tensors: list[Tensors]
    hashes: list[str]
    stored: StoredDirections
    trajectory: Trajectory | None = None
    trails: Sequence[str] = ()


@dataclass(frozen=True)
class Content:
    """Hashes of the network and the data; taken before the network moves."""

    weights: str
    data: Mapping[str, str]
    recalibration: str | None = None


@dataclass(frozen=True)
class Prepared:
    """Everything that a sweep needs, except its file.

    Attributes:
        config: the configuration, with the ranges of axes that a trail determines.
        mode: mode of the store.
        device: device of this rank.
        evaluator: evaluator of this rank.
        full: evaluates all examples in the model's own precision, one point after another.
        header: header of the file; provenance only on rank 0.
        plan: the points and their schedule.
        devices: name → number of ranks on such a device.
        neighbours: per-example losses of neighbouring points, if the evaluator uses them.
    """

    config: Config
    mode: str
    device: torch.device
    evaluator: Evaluator
    full: ExactEvaluator
    header: Header
    plan: Plan
    devices: Mapping[str, int]
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
    """Collective: all steps of the set-up; see `execute`. `clock` records the time of directions and tuning.

    Raises:
        InputError: on every rank alike, for anything wrong with the input.
    """
    clock = clock or Stopwatch()
    mode = choose_mode(config.store.mode, comm) if output is not None else "memory"
    placement = place(config, problem.model, comm)
    with comm.together():
        warn = comm.is_root and explicit is None
        compatibility.check_batchnorm(
            config.evaluate, config.directions, config.grid.names, problem, warn=warn
        )
    with clock.span("directions"):
        agreed = agree_on_directions(config, problem, comm, placement, output, explicit)
    config = close_axes(config, agreed.trajectory)
    content = comm.on_root(lambda: hash_content(problem))  # before the network moves
    with ExitStack() as stack:
        stack.enter_context(device.threads_of(comm))
        stack.enter_context(device.repeatable())
        unfolded = list(agreed.tensors) if config.evaluate.hessian else []
        with comm.together():
            exact = stack.enter_context(make_exact(config, problem, placement, agreed.tensors))
            schema.check_names(exact.names)
        with clock.span("tuning"):
            stored = comm.on_root(lambda: stored_settings(output))
            choice = choose(config.evaluate, config.grid, problem, comm, exact, stored)
        evaluator: Evaluator = choice.evaluator
        curvature: dict[str, Any] = {}
        if config.evaluate.hessian:
            evaluator, curvature = eigenvectors.with_curvature(
                stack, config.curvature, problem, comm, placement.space, unfolded, choice.evaluator
            )
        header = Header(
            grid=config.grid,
            names=evaluator.names,
            identity=identify(config, problem.name, content, agreed, choice, curvature),
            config=config.to_toml(),
            provenance=_provenance(comm, problem, placement.device, choice.batch_size)
            if comm.is_root
            else {},
            directions=agreed.stored,
            columns=evaluator.columns,
            trajectory=agreed.trajectory,
            curvature=curvature,
        )
        devices = Counter(comm.allgather(device.describe(placement.device)))
        plan = make_plan(config, len(devices) > 1, choice.points_at_once)
        yield Prepared(
            config, mode, placement.device, evaluator, exact, header, plan, devices, choice.neighbours
        )


def agree_on_directions(
    config: Config,
    problem: Problem,
    comm: Comm,
    placement: Placement,
    output: Path | None,
    explicit: Sequence[Tensors] | None,
) -> Agreed:
    """Collective: generate the directions, or use the given ones; the same on every rank and in every session."""
    recipe, axes, space = config.directions, config.grid.names, placement.space
    trails = trail_axes.open_trails(recipe, axes, problem.model, comm, space)
    if explicit is None:
        curved = eigenvectors.source(config.curvature, problem, comm, placement)
        principal = trails.principal if trails else None
        made = agreement.make(recipe, axes, problem.model, comm, space, principal, curved, output)
    else:
        made = list(explicit)
    made, hashes = agreement.agree(comm, made, space, output)
    trajectory = trails.project(made) if trails else None
    stored = agreement.stored(recipe, axes, space, made, hashes, explicit=explicit is not None)
    return Agreed(made, hashes, stored, trajectory, trails.sha256 if trails else ())


def close_axes(config: Config, path: Trajectory | None) -> Config:
    """The configuration, with ranges for the axes that it leaves to the trail.

    Raises:
        InputError: the trail does not move along one of them.
    """
    if path is None or not config.open_axes:
        return config
    grid = config.grid
    for name in config.open_axes:
        column = path.coordinates[:, grid.names.index(name)]
        low, high = pca.range_of(column, config.directions.margin)
        closed: Any = {name: dataclasses.replace(getattr(grid, name), min=low, max=high)}
        grid = dataclasses.replace(grid, **closed)
    return dataclasses.replace(config, grid=grid, open_axes=())


@contextmanager
def make_exact(
    config: Config, problem: Problem, placement: Placement, directions: list[Tensors]
) -> Iterator[ExactEvaluator]:
    """The evaluator of all examples, with BatchNorm folded if that is exact.

    Folded directions are removed from `directions`, to save memory.
    """
    model, space = problem.model, placement.space
    supervised = isinstance(problem.objective, Supervised)
    if supervised and config.evaluate.fold_batchnorm and problem.calibration is None:
        model, space, directions = _folded(problem, placement, directions)
    wanted = config.evaluate.batch_size
    with exact_evaluator(
        model,
        problem.splits,
        problem.objective,
        space,
        directions,
        device=placement.device,
        dtype=placement.dtype,
        batch_size=wanted if isinstance(wanted, int) else device.BATCH_SIZE[placement.device.type],
        check=check_labels if supervised else None,
        recalibrate=problem.calibration,
    ) as exact:
        yield exact


def _folded(
    problem: Problem, placement: Placement, directions: list[Tensors]
) -> tuple[torch.nn.Module, parameters.WeightSpace, list[Tensors]]:
    try:
        folded = folding.fold(problem.model, placement.space, directions, placement.dtype)
        batch = next(next(iter(problem.splits.values())).batches(8))
        with evaluation_mode(problem.model):
            folding.require_same(problem.model, folded.model, batch)
    except folding.Unfoldable as reason:
        if any(isinstance(m, folding.NORMS) for m in problem.model.modules()):
            log.debug("BatchNorm is not folded: %s", reason)
        return problem.model, placement.space, directions
    log.debug("%d BatchNorm layers are folded into the convolutions before them", len(folded.folds))
    return folded.model, folded.space, [folded.direction(directions.pop(0)) for _ in range(len(directions))]


def stored_settings(output: Path | None) -> dict[str, Any]:
    """Settings of an existing file that affect the bits of the result, and are therefore not measured again."""
    known = reader.read_identity(output)[0] if output is not None and output.exists() else {}
    kinds = {"batch_size": int, "points_at_once": int, "precision": str}
    return {key: known[key] for key, kind in kinds.items() if type(known.get(key)) is kind}


def hash_content(problem: Problem) -> Content:
    """Hashes of the network's floating tensors and of the data."""
    state = problem.model.state_dict().values()
    floating = [t for t in state if isinstance(t, torch.Tensor) and t.is_floating_point()]
    return Content(
        parameters.sha256(*floating),
        {split: examples.sha256() for split, examples in problem.splits.items()},
        None if problem.calibration is None else problem.calibration.sha256(),
    )


def identify(
    config: Config, loss: str, content: Content, agreed: Agreed, choice: Choice, curvature: Mapping[str, Any]
) -> dict[str, Any]:
    """The identity of a sweep, in JSON types: a resume must match it field by field.

    Fields that were added later are left out if they do not apply, as in older files.
    """
    grid = config.grid
    identity: dict[str, Any] = {}
    if content.recalibration is not None:
        identity |= {"batchnorm": "recalibrate", "recalibration": content.recalibration}
    identity |= {
        "weights": content.weights,
        "directions": dict(zip(grid.names, agreed.hashes, strict=True)),
        "axes": {n: [a.min, a.max, a.num] for n, a in zip(grid.names, grid.axes, strict=True)},
        "refine": grid.refine and {"tolerance": grid.refine.tolerance, "levels": list(grid.refine.levels)},
        "data": dict(content.data),
        "loss": loss,
        "metrics": list(config.evaluate.metrics),
        "fold_batchnorm": config.evaluate.fold_batchnorm,
    }
    if agreed.trails:
        identity["trail"] = list(agreed.trails)
    identity |= {"batch_size": choice.batch_size, "precision": choice.precision, **choice.budget}
    if choice.points_at_once > 1:
        identity["points_at_once"] = choice.points_at_once
    if curvature:
        identity["curvature"] = dict(curvature)
    return identity


def make_plan(config: Config, mixed: bool, points_at_once: int) -> Plan:
    """The plan; the schedule "auto" is static, which needs no communication, unless the ranks' devices are mixed."""
    kind = config.schedule.kind
    return Plan(
        output=config.output,
        grid=config.grid,
        dynamic=mixed if kind == "auto" else kind == "dynamic",
        # Points that are evaluated together form a tile.
        tile=points_at_once if points_at_once > 1 else config.schedule.tile,
        max_failures=config.evaluate.max_failures,
        # A rank sends no messages between two batches.
        patience=max(config.schedule.silent_seconds, 3 * config.store.sync_seconds),
    )


def summary(ready: Prepared, output: Path | None, done: int) -> list[str]:
    """The first lines that a user sees: network, data, grid, devices, and where the results are stored."""
    config, made, grid = ready.config, ready.header.provenance, ready.plan.grid
    weights = f", weights {config.model.weights}" if config.model.weights else ""
    examples = ", ".join(f"{count:,} {split}" for split, count in made["examples"].items())
    axes = ", ".join(f"{n} {a.min:g} to {a.max:g}" for n, a in zip(grid.names, grid.axes, strict=True))
    devices = ", ".join(f"{count} × {name}" for name, count in ready.devices.items())
    sizes = " × ".join(str(axis.num) for axis in grid.axes)
    precision, batch = ready.header.identity["precision"], made["batch_size"]
    return [
        f"network  {config.model.source}, {made['parameters']:,} parameters{weights}",
        f"data     {config.data.source}, {examples} examples",
        f"grid     {sizes} = {grid.size:,} points, {axes}" + (f"; {done:,} are done" if done else ""),
        f"ranks    {devices}; {precision}, {batch} examples per batch",
        f"output   {output or 'in memory'}" + (f" (store {ready.mode})" if output else ""),
    ]


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
