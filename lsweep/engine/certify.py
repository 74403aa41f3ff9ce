"""Certifies a sweep: evaluates a sample of its points again, with all examples in fp32 (`lsweep.certificate`).

This is a separate sweep of the sample alone, with the same engine, schedule and store, and an evaluator of all
examples. Its results go to a working file next to the sweep's file, which is written and resumed like that of any
sweep. At the end of the session its points are copied into the sweep's file in one step (`lsweep.store.certificate`),
and it is removed. So after a kill at any time the sweep's file is intact, with its previous certificate, and all new
points are kept except the last batch of each rank.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from lsweep import certificate
from lsweep.certificate import Certificate, Kind
from lsweep.comm import Comm
from lsweep.engine import loop
from lsweep.engine.plan import Options
from lsweep.engine.session_monitor import Outcome
from lsweep.engine.setup import Prepared
from lsweep.errors import IdentityError, InputError
from lsweep.store import Header, StoredDirections, open_store, opening, reader
from lsweep.store import certificate as stored
from lsweep.surface import Surface
from lsweep.tools.lock import Lock

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class Request:
    """The requested sample.

    Attributes:
        points: number of points of each kind; at least that of the certificate in the file. None: the number in that
            certificate.
        seed: seed of the order in which points are drawn. None: that of the certificate in the file.
    """

    points: int | None = None
    seed: int | None = None


def certify(
    ready: Prepared, comm: Comm, output: Path, lock: Lock | None, request: Request, options: Options
) -> Outcome:
    """Collective: evaluate the missing points of the sample, and store the certificate in the sweep's file.

    Args:
        ready: the set-up of the sweep.
        comm: the ranks.
        output: the sweep's file, not open in any store.
        lock: this session's lock on it.
        request: the requested sample.
        options: settings of this session.

    Returns:
        how it ended, counting only the points of the sample.

    Raises:
        InputError: there is no point to certify, or the certificate cannot be written.
    """
    working = working_file(output)
    header = _header(ready)
    missing = comm.on_root(lambda: _missing(output, working, header, request))
    outcome = Outcome(done=0, failed=0, pending=0, evaluated=0)
    if len(missing):
        store = open_store(working, ready.mode, comm, header, ready.config.store.sync_seconds)
        if lock is not None:
            store.guard = lock.check
        ready.full.notes.clear()
        plan = replace(ready.plan, output=str(working), grid=header.grid, tile=1, points=missing)
        options = replace(options, complete=False)
        with options.clock.span("certificate"), loop.closing_store(comm, store):
            outcome = loop.run(plan, options, comm, store, ready.full)
    if not outcome.broken:
        provenance = ready.header.provenance
        comm.on_root_only(lambda: _conclude(output, working, lock, request, header, provenance))
    return outcome


def working_file(output: Path) -> Path:
    """The working file of a sweep's certificate."""
    return output.with_name(f"{output.name}.certificate")


def _header(ready: Prepared) -> Header:
    """The header of the working file: the same plane, with all examples at every point."""
    kept = {key: value for key, value in ready.header.identity.items() if key != "curvature"}
    return replace(
        ready.header,
        grid=replace(ready.header.grid, refine=None),
        names=ready.full.names,
        identity={**kept, "certificate": "fp64" if ready.header.identity["precision"] == "fp64" else "fp32"},
        columns=ready.full.columns,
        directions=StoredDirections(),
        trajectory=None,
        curvature={},
    )


def _missing(output: Path, working: Path, header: Header, request: Request) -> np.ndarray:
    """Points to evaluate, as flat indices in the order of the sample, alternating between the kinds."""
    opening.remove_leftovers(output)
    surface = reader.read(output)
    if not surface.done.any():
        raise InputError(
            f"{str(output)!r} has no evaluated point, so there is nothing to certify: run `lsweep sweep` first",
            key="output",
        )
    _discard_other(working, header)
    samples = _samples(surface, *_resolved(surface, request))
    in_turn = [p for p in chain(*zip_longest(*samples.values())) if p is not None]
    before = _before(surface, header)
    known = set(before.points.tolist()) if before is not None else set()
    return np.array([p for p in in_turn if p not in known], dtype=np.int64)


def _discard_other(working: Path, header: Header) -> None:
    """Remove a working file left by a different sweep of the same name."""
    try:
        if working.exists():
            opening.resumable(working, header)
    except IdentityError as error:
        log.warning("%s is of another sweep (its %s differs) and is removed", working, error.key)
        working.unlink()


def _before(surface: Surface, header: Header) -> Certificate | None:
    """The certificate in the file, if it has the same metrics and precision."""
    before = surface.certificate
    if before is None or (*before.full, before.precision) != (*header.names, header.identity["certificate"]):
        return None
    return before


def _resolved(surface: Surface, request: Request) -> tuple[int, int]:
    """The number of points of each kind, and the seed."""
    before = surface.certificate
    if before is None:
        return request.points or certificate.POINTS, request.seed or 0
    if request.seed not in (None, before.seed):
        return request.points or before.wanted, request.seed or 0
    return max(request.points or 0, before.wanted), before.seed


def _members(surface: Surface) -> dict[Kind, np.ndarray]:
    return {Kind.EVALUATED: surface.done.reshape(-1), Kind.INTERPOLATED: surface.settled.reshape(-1)}


def _samples(surface: Surface, points: int, seed: int) -> dict[Kind, np.ndarray]:
    """The sample of each kind, flat indices in the order in which they are drawn."""
    return {kind: certificate.draw(members, points, seed) for kind, members in _members(surface).items()}


def _conclude(
    output: Path, working: Path, lock: Lock | None, request: Request, header: Header, provenance: Any
) -> None:
    """Store the known part of the sample in the sweep's file, and log the result."""
    surface = reader.read(output)
    made = _made(surface, working, request, header, provenance)
    if len(made):
        if not _same(made, surface.certificate):
            stored.write(output, made, lock.check if lock is not None else lambda: None)
        for line in made.lines():
            log.info("%s: certificate: %s", output, line)
    working.unlink(missing_ok=True)


def _made(surface: Surface, working: Path, request: Request, header: Header, provenance: Any) -> Certificate:
    wanted, seed = _resolved(surface, request)
    full, known = _known(surface, working, header)
    samples = {kind: drawn[known[drawn]] for kind, drawn in _samples(surface, wanted, seed).items()}
    points = np.concatenate(list(samples.values()))
    return Certificate(
        points=points,
        kinds=np.repeat(np.array(list(samples), dtype=np.uint8), [len(p) for p in samples.values()]),
        full={name: full[name][points] for name in header.names},
        stored={name: surface.filled(name).reshape(-1)[points] for name in header.names},
        wanted=wanted,
        populations={kind: int(members.sum()) for kind, members in _members(surface).items()},
        seed=seed,
        precision=header.identity["certificate"],
        provenance=provenance,
    )


def _known(surface: Surface, working: Path, header: Header) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Values with all examples on the whole grid and a mask of known ones, from certificate and working file."""
    full = {name: np.full(surface.status.size, np.nan) for name in header.names}
    known = np.zeros(surface.status.size, dtype=bool)
    if before := _before(surface, header):
        known[before.points] = True
        for name in header.names:
            full[name][before.points] = before.full[name]
    if working.exists():
        fresh = reader.read(working)
        done = fresh.done.reshape(-1)
        known |= done
        for name in header.names:
            full[name][done] = fresh.metrics[name].reshape(-1)[done]
    return full, known


def _same(made: Certificate, before: Certificate | None) -> bool:
    """Whether it equals the certificate in the file."""
    if before is None or (made.wanted, made.populations, made.seed) != (
        before.wanted,
        before.populations,
        before.seed,
    ):
        return False
    return np.array_equal(made.points, before.points) and np.array_equal(made.kinds, before.kinds)
