"""Audit of a sweep's file: checks interpolated points and the certificate against the rest of the file.

lsweep's readers use no value of a point that is not done, and compute a certificate's errors themselves. But other
programs read the file too, and an inconsistency shows that some bytes were not written by a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep import certificate as sample
from lsweep.certificate import Certificate, Kind
from lsweep.errors import FileFormatError
from lsweep.grid import refine
from lsweep.store import certificate, reader
from lsweep.store.schema import CURVATURE
from lsweep.store.validation import probed
from lsweep.surface import Status, Surface


@dataclass(frozen=True)
class AuditResult:
    """Inconsistencies that were found; empty if there are none.

    Attributes:
        wrong: inconsistencies that no sweep causes.
        loose: those that a killed or resumed sweep may leave, which readers handle.
    """

    wrong: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()


@probed
def points(path: Path) -> AuditResult:
    """Check that every status is known, and that settled points are off the coarse lattice and have no values.

    Raises:
        FileFormatError: as in `lsweep.store.reader.read`, for example if a dataset has another shape.
    """
    surface = reader.read(path, trusted=True)
    settled = surface.settled
    wrong = {
        f"have a status other than 0 to {max(Status)}": surface.status > max(Status),
        "are settled, but the sweep is not refined": settled & (surface.identity.get("refine") is None),
        "are settled on the coarse grid, of which every point is evaluated": settled
        & refine.coarse(surface.shape),
    }
    with reader.opened(path) as file:
        loose = {
            "are settled but have values, as after a kill during a write": settled & _carrying(file, surface),
            "are settled, but have no neighbours to interpolate from": settled & np.isnan(surface.filled()),
        }
    return AuditResult(tuple(_counted(wrong)), tuple(_counted(loose)))


def _counted(masks: dict[str, np.ndarray]) -> Iterator[str]:
    yield from (f"{int(mask.sum())} points {what}" for what, mask in masks.items() if mask.any())


def _carrying(file: h5py.File, surface: Surface) -> np.ndarray:
    """Boolean mask, shaped like the grid, of points whose values differ from those of a newly created file."""
    floating = [*(name for name in surface.metrics if name in file), "seconds"]
    floating += [name for name in surface.columns if name in CURVATURE and file[name].dtype.kind == "f"]
    carrying = file["rank"][...] != -1
    for name in floating:
        carrying |= ~np.isnan(file[name][...])
    for name in surface.columns:
        if name not in floating:
            carrying |= surface.columns[name] != file[name].fillvalue
    return carrying


@probed
def certified(path: Path) -> AuditResult | None:
    """Check that a certificate belongs to this file: its points, their values and their errors. None without one.

    Raises:
        FileFormatError: as in `lsweep.store.reader.read`, for example if a dataset has another shape.
    """
    surface = reader.read(path, trusted=True)
    made = surface.certificate
    if made is None:
        return None
    present = {Kind.EVALUATED: surface.done, Kind.INTERPOLATED: surface.settled}
    members = {kind: mask.reshape(-1) for kind, mask in present.items()}
    stale = made.populations != {kind: int(mask.sum()) for kind, mask in members.items()}
    wrong = [*_misdrawn(made, members, stale), *_misquoted(made, surface, stale)]
    if made.precision != ("fp64" if surface.identity.get("precision") == "fp64" else "fp32"):
        wrong.append(f"its precision is {made.precision or 'unknown'}")
    try:
        with reader.opened(path) as file:
            wrong += [
                f"{name!r} does not agree with its values" for name in certificate.disagreeing(file, made)
            ]
    except FileFormatError as error:
        wrong.append(str(error))
    return AuditResult(tuple(wrong), ("it was made before the sweep was resumed",) if stale else ())


def _misdrawn(made: Certificate, members: dict[Kind, np.ndarray], stale: bool) -> Iterator[str]:
    """Describe points that are not of their kind, or not those that the seed draws."""
    if len(set(made.points.tolist())) < len(made) or (np.diff(made.kinds.astype(int)) < 0).any():
        yield "its points are not in order or contain duplicates"
    for kind, population in made.populations.items():
        own = made.points[made.kinds == kind]
        # An interpolated point may have been evaluated since; an evaluated point stays evaluated.
        if (kind is Kind.EVALUATED or not stale) and not members[kind][own].all():
            yield f"{int((~members[kind][own]).sum())} of its {kind.name.lower()} points are not {kind.name.lower()}"
        elif len(own) > min(made.wanted, population):
            yield f"it has more {kind.name.lower()} points than were requested"
        elif not stale:
            drawn = sample.draw(members[kind], made.wanted, made.seed)
            if not np.array_equal(drawn[np.isin(drawn, own)], own):
                yield f"its {kind.name.lower()} points are not those that its seed draws"


def _misquoted(made: Certificate, surface: Surface, stale: bool) -> Iterator[str]:
    """Describe values of the certificate that differ from those of the file at its points."""
    for name, quoted in made.stored.items():
        if name not in surface.metrics:
            yield f"it contains {name!r}, which the sweep does not measure"
            continue
        ours = surface.filled(name).reshape(-1)[made.points]
        exact = (quoted == ours) | (np.isnan(quoted) & np.isnan(ours))
        # The logarithm of a loss, interpolated again by another numpy, may differ in its last bits.
        close: Any = np.isclose(quoted, ours, rtol=1e-9, atol=1e-12, equal_nan=True) | stale
        if not np.where(made.kinds == Kind.EVALUATED, exact, close).all():
            yield f"{name!r} differs from the file's values at its points"
