"""One sweep from beginning to end: lock, set-up, store, loop, certificate."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.directions import Tensors
from lsweep.engine import certify as certification
from lsweep.engine import loop
from lsweep.engine.certify import Request
from lsweep.engine.exchange import ExampleCache, Exchange
from lsweep.engine.setup import Prepared, prepare
from lsweep.errors import InputError, LsweepError
from lsweep.evaluate import device, out_of_memory
from lsweep.evaluate.interface import Evaluator
from lsweep.evaluate.problem import Problem, build
from lsweep.store import Store, open_store, opening, prepare_output
from lsweep.surface import Surface
from lsweep.tools.lock import Lock, acquire
from lsweep.tools.progress import Progress
from lsweep.tools.stop import Stop
from lsweep.tools.stopwatch import Stopwatch

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class Options:
    """What a session may say that does not change the result.

    Attributes:
        progress: told how far it is, on rank 0.
        stop: asked between points.
        max_points: leave after so many points.
        retry_failed: evaluate failed points again even where nothing else is pending.
        complete: evaluate every point, those that refinement settled too.
        clock: told where this rank's time goes.
    """

    progress: Progress | None = None
    stop: Stop | None = None
    max_points: int | None = None
    retry_failed: bool = False
    complete: bool = False
    clock: Stopwatch = field(default_factory=Stopwatch)


def sweep(
    config: Config, comm: Comm, options: Options = Options(), *, break_lock: bool = False
) -> loop.Outcome:
    """Collective: run the sweep that a configuration describes, or resume it.

    Raises:
        InputError: on every rank alike, for anything wrong with the input.
    """
    return next(sweeps([config], comm, options, break_lock=break_lock))


def sweeps(
    configs: Sequence[Config], comm: Comm, options: Options = Options(), *, break_lock: bool = False
) -> Iterator[loop.Outcome]:
    """Collective: the same one after another, for configurations of one network and one data set.

    These are built once: each building would take another share of the hosts' memory.
    """
    problem = None
    for config in configs:
        output = Path(config.output)
        with locked_output(comm, output, break_lock=break_lock) as lock:
            with options.clock.span("network and data"), out_of_memory.freed_memory():
                problem = problem or build(config, comm)
            outcome, _ = execute(config, problem, comm, output, options, lock=lock)
        yield outcome


@contextmanager
def locked_output(comm: Comm, output: Path, *, break_lock: bool = False) -> Iterator[Lock]:
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
) -> tuple[loop.Outcome, Surface | None]:
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
    with ExitStack() as stack:
        with options.clock.span("evaluator"), out_of_memory.freed_memory():
            ready = stack.enter_context(prepare(config, problem, comm, output, explicit, options.clock))
        with options.clock.span("opening the file"):
            store = open_store(output, ready.mode, comm, ready.header, config.store.sync_seconds)
        if lock is not None:
            store.guard = lock.check
        outcome = _evaluate(ready, comm, store, output, options)
        if config.evaluate.certificate and output is not None and not outcome.pending:
            if options.max_points is not None:
                options = dataclasses.replace(options, max_points=options.max_points - outcome.evaluated)
            certified = _certify(ready, comm, output, lock, Request(config.evaluate.certificate), options)
            outcome = dataclasses.replace(outcome, certificate=certified)
    return outcome, store.surface()


def _evaluate(
    ready: Prepared, comm: Comm, store: Store, output: Path | None, options: Options
) -> loop.Outcome:
    """Run the sweep, with what is kept of single examples' losses where points are sampled by their neighbours."""
    cache = exchange = None
    if ready.neighbours is not None:
        if output is not None:
            size = ready.config.grid.size
            cache = ExampleCache(output, ready.header.identity, size, ready.neighbours.examples)
        ready.neighbours.idle = options.complete  # all that is left is one round
        exchange = None if options.complete else Exchange(comm, ready.neighbours, cache)
    outcome = _run(
        _scheduled(ready.config, comm, ready), comm, store, ready.evaluator, options, exchange=exchange
    )
    if cache is not None and comm.is_root and not outcome.pending and not outcome.failed:
        cache.remove()
    return outcome


def certify(
    config: Config, comm: Comm, request: Request, options: Options = Options(), *, break_lock: bool = False
) -> loop.Outcome:
    """Collective: evaluate a sample of a sweep's points in full, and put the certificate into its file.

    Raises:
        InputError: on every rank alike: no such sweep, another one, one without any point, or whatever is wrong
            with the input.
    """
    output = Path(config.output)
    comm.on_root_only(lambda: _require(output))
    with locked_output(comm, output, break_lock=break_lock) as lock:
        with options.clock.span("network and data"):
            problem = build(config, comm)
        with prepare(config, problem, comm, output) as ready:
            comm.on_root_only(lambda: opening.resumable(output, ready.header))
            return _certify(ready, comm, output, lock, request, options)


def _require(output: Path) -> None:
    if not output.exists():
        raise InputError(f"no sweep at {str(output)!r}: run `lsweep sweep` first", key="output")


def _certify(
    ready: Prepared, comm: Comm, output: Path, lock: Lock | None, request: Request, options: Options
) -> loop.Outcome:
    def run(config: Config, store: Store, evaluator: Evaluator, points: np.ndarray) -> loop.Outcome:
        return _run(config, comm, store, evaluator, options, points)

    scheduled = _scheduled(ready.config, comm, ready)
    with options.clock.span("certificate"):
        return certification.certify(scheduled, ready, comm, output, lock, request, run)


def _run(
    config: Config,
    comm: Comm,
    store: Store,
    evaluator: Evaluator,
    options: Options,
    points: np.ndarray | None = None,
    exchange: Exchange | None = None,
) -> loop.Outcome:
    try:
        outcome = loop.run(
            config,
            comm,
            store,
            evaluator,
            progress=options.progress,
            stop=options.stop,
            max_points=options.max_points,
            retry_failed=options.retry_failed,
            complete=options.complete and points is None,
            points=points,
            clock=options.clock,
            exchange=exchange,
        )
    except BaseException:
        if comm.size == 1:  # with other ranks in their loops it would hang: closing is collective
            with closing(store):
                store.sync()
        raise
    store.close()
    return outcome


def _scheduled(config: Config, comm: Comm, ready: Prepared) -> Config:
    """Collective: "auto" is static, which needs no communication, unless the ranks' devices are of several kinds.

    Points that share their arithmetic are a tile.
    """
    kind = config.schedule.kind
    mixed = len(set(comm.allgather(device.describe(ready.device)))) > 1
    if kind == "auto":
        kind = "dynamic" if mixed else "static"
    tile = config.schedule.tile if ready.points_at_once == 1 else ready.points_at_once
    return dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, kind=kind, tile=tile))
