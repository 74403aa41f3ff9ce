"""One sweep from beginning to end: lock, set-up, store, loop, certificate."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lsweep.comm import Comm
from lsweep.config import Config
from lsweep.directions.build import Tensors
from lsweep.engine import certify as certification
from lsweep.engine import loop
from lsweep.engine.exchange import ExampleCache, Exchange
from lsweep.engine.plan import Options
from lsweep.engine.setup import prepare, summary
from lsweep.errors import InputError, LsweepError
from lsweep.evaluate import out_of_memory
from lsweep.evaluate.problem import Problem, build
from lsweep.store import open_store, opening, prepare_output
from lsweep.surface import Status, Surface
from lsweep.tools.lock import Lock, acquire

log = logging.getLogger("lsweep")


def sweep(
    config: Config, comm: Comm, options: Options | None = None, *, break_lock: bool = False
) -> loop.Outcome:
    """Collective: run the sweep that a configuration describes, or resume it.

    Raises:
        InputError: on every rank alike, for anything wrong with the input.
    """
    return next(sweeps([config], comm, options, break_lock=break_lock))


def sweeps(
    configs: Sequence[Config], comm: Comm, options: Options | None = None, *, break_lock: bool = False
) -> Iterator[loop.Outcome]:
    """Collective: run several sweeps of one network and one data set, one after another.

    Network and data are built once; building them again would need more memory.
    """
    options = options or Options()
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
    """Collective: check that the output can be written, and hold its lock.

    Raises:
        InputError: it cannot be written, or another session is writing it.
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
        # Other ranks may still be writing. Keep the lock: it can be taken over once this session is dead.
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
    options: Options | None = None,
    explicit: Sequence[Tensors] | None = None,
    lock: Lock | None = None,
) -> tuple[loop.Outcome, Surface | None]:
    """Collective: sweep `problem` over `config.grid` and return the outcome and, on rank 0, the surface.

    Args:
        config: the recipe of directions, the grid, and the settings of evaluation, schedule and store.
        problem: the network, data and objective; the model is restored afterwards.
        comm: the ranks.
        output: the file to create or resume; None keeps the result in memory.
        options: settings of this session.
        explicit: directions given as tensors, instead of the recipe.
        lock: this session's lock on `output`, checked before each batch.

    Raises:
        InputError: on every rank alike, for anything wrong with the input.
    """
    options = options or Options()
    with ExitStack() as stack:
        with options.clock.span("evaluator"), out_of_memory.freed_memory():
            ready = stack.enter_context(prepare(config, problem, comm, output, explicit, options.clock))
        with options.clock.span("opening the file"):
            store = open_store(output, ready.mode, comm, ready.header, config.store.sync_seconds)
        if lock is not None:
            store.guard = lock.check
        if comm.is_root:
            done = int((store.status == Status.DONE).sum())
            for line in summary(ready, output, done):
                log.info(line)
        cache = exchange = None
        if ready.neighbours is not None:
            if output is not None:
                identity = ready.header.identity
                cache = ExampleCache(output, identity, ready.plan.grid.size, ready.neighbours.examples)
            ready.neighbours.idle = options.complete  # all remaining points are one round
            exchange = None if options.complete else Exchange(comm, ready.neighbours, cache)
        with loop.closing_store(comm, store):
            outcome = loop.run(ready.plan, options, comm, store, ready.evaluator, exchange)
        if cache is not None and comm.is_root and not outcome.pending and not outcome.failed:
            cache.remove()
        if config.evaluate.certificate and output is not None and not outcome.pending:
            if options.max_points is not None:
                options = dataclasses.replace(options, max_points=options.max_points - outcome.evaluated)
            request = certification.Request(config.evaluate.certificate)
            certified = certification.certify(ready, comm, output, lock, request, options)
            outcome = dataclasses.replace(outcome, certificate=certified)
    return outcome, store.surface()


def certify(
    config: Config,
    comm: Comm,
    request: certification.Request,
    options: Options | None = None,
    *,
    break_lock: bool = False,
) -> loop.Outcome:
    """Collective: evaluate a sample of a sweep's points with all examples, and store the certificate in its file.

    Raises:
        InputError: on every rank alike: the sweep does not exist, is a different one or has no points, or the input
            is invalid.
    """
    options = options or Options()
    output = Path(config.output)
    comm.on_root_only(lambda: _require(output))
    with locked_output(comm, output, break_lock=break_lock) as lock:
        with options.clock.span("network and data"):
            problem = build(config, comm)
        with prepare(config, problem, comm, output) as ready:
            comm.on_root_only(lambda: opening.resumable(output, ready.header))
            return certification.certify(ready, comm, output, lock, request, options)


def _require(output: Path) -> None:
    if not output.exists():
        raise InputError(f"no sweep at {str(output)!r}: run `lsweep sweep` first", key="output")
