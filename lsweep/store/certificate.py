"""Reads and writes the group `certificate/` of a sweep's file; see `lsweep.certificate`.

    points, kind                      (n,) flat indices; 0 evaluated, 1 interpolated
    full/NAME, file/NAME              (n,) a metric on all examples, and its value in the file
    absolute_error/NAME               (n,) for every metric
    relative_error/NAME               (n,) for the losses

Attributes: `metrics`, `wanted`, `seed`, `precision`, `provenance`, `population_KIND`, and for each loss
`NAME_KIND_median`, `NAME_KIND_95` and `NAME_KIND_largest`.

A sweep never changes its file's metadata, because HDF5 writes them in no safe order, but a new group does change them.
So the file is copied into memory, the group is added there, and the copy replaces the file atomically: at every moment
the path holds a complete file, either the old or the new one. The sweep's lock ensures that no other process writes
meanwhile. Reserving space when the file is created would work only for new files and for samples of limited size.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from lsweep.certificate import Certificate, Kind
from lsweep.errors import FileFormatError, InputError
from lsweep.store.schema import LIBVER, fsync_path
from lsweep.store.validation import checked, integer, is_hard, is_there, json_value, text
from lsweep.tools.files import replacing

GROUP = "certificate"


def write(path: Path, certificate: Certificate, guard: Callable[[], None] = lambda: None) -> None:
    """Write a certificate into a sweep's file, replacing an existing one. Needs memory for a copy of the file.

    Args:
        path: the file, to which no other process may write.
        certificate: the certificate to write.
        guard: called right before the file is replaced; raises to prevent that.

    Raises:
        InputError: the certificate cannot be written; the file is unchanged.
    """
    path = path.resolve()  # so that a symbolic link is not replaced
    try:
        content = _with(path.read_bytes(), certificate)
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                file.write(content)
            fsync_path(temporary)
            guard()
        fsync_path(path.parent)
    except (OSError, RuntimeError) as error:  # h5py raises either
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(
            f"cannot write the certificate into {str(path)!r}: {reason}; the file is unchanged", key="output"
        ) from None


def _with(content: bytes, certificate: Certificate) -> memoryview:
    image = io.BytesIO(content)
    with h5py.File(image, "r+", libver=LIBVER) as file:
        if is_there(file, GROUP):
            del file[GROUP]
        _fill(file.create_group(GROUP), certificate)
    return image.getbuffer()


def _fill(group: h5py.Group, certificate: Certificate) -> None:
    group["points"] = certificate.points.astype("<i8")
    group["kind"] = certificate.kinds.astype("<u1")
    for name in certificate.full:
        group[f"full/{name}"] = certificate.full[name].astype("<f8")
        group[f"file/{name}"] = certificate.stored[name].astype("<f8")
        group[f"absolute_error/{name}"] = certificate.absolute_error(name)
    for name in certificate.losses:
        group[f"relative_error/{name}"] = certificate.relative_error(name)
        group.attrs.update(_summary(certificate, name))
    for kind, size in certificate.populations.items():
        group.attrs[_population(kind)] = size
    group.attrs["wanted"], group.attrs["seed"] = certificate.wanted, certificate.seed
    group.attrs["metrics"] = json.dumps(list(certificate.full))
    group.attrs["precision"] = certificate.precision
    group.attrs["provenance"] = json.dumps(certificate.provenance)


def _summary(certificate: Certificate, name: str) -> dict[str, float]:
    """Attribute → value: the distribution of a loss's relative errors, for each kind of point in the sample."""
    found = {}
    for kind in Kind:
        if spread := certificate.spread(name, kind):
            for key, value in (("median", spread.median), ("95", spread.most), ("largest", spread.largest)):
                found[f"{name}_{kind.name.lower()}_{key}"] = value
    return found


def disagreeing(file: h5py.File, certificate: Certificate) -> list[str]:
    """The datasets and attributes of an open file that differ from the errors of the certificate that `read` returned.

    Raises:
        FileFormatError: a dataset is absent or has another shape.
    """
    group = file[GROUP]
    errors = {f"absolute_error/{name}": certificate.absolute_error(name) for name in certificate.full}
    errors |= {f"relative_error/{name}": certificate.relative_error(name) for name in certificate.losses}
    wrong = [
        name
        for name, expected in errors.items()
        if not np.array_equal(checked(group, name, kinds="f", shape=expected.shape)[...], expected)
    ]
    for name in certificate.losses:
        for key, value in _summary(certificate, name).items():
            stored = group.attrs.get(key)
            if not isinstance(stored, (float, np.floating)) or stored != value:
                wrong.append(key)
    return wrong


def read(file: h5py.File, size: int) -> Certificate | None:
    """Read the certificate of an open file whose grid has `size` points; None if there is none.

    Raises:
        FileFormatError: the certificate is damaged.
    """
    if not is_hard(file, GROUP) or not is_there(file, f"{GROUP}/points"):
        return None
    group = file[GROUP]
    points = checked(group, "points", kinds="iu", ndim=1)[...].astype(np.int64)
    kinds = checked(group, "kind", kinds="iu", shape=points.shape)[...].astype(np.int64)
    names = [str(name) for name in json_value(group, "metrics", list)]

    def values(place: str) -> dict[str, np.ndarray]:
        return {
            name: checked(group, f"{place}/{name}", kinds="f", shape=points.shape)[...].astype(np.float64)
            for name in names
        }

    numbers = {key: integer(group, key) for key in ("wanted", "seed", *map(_population, Kind))}
    wrong = [key for key, value in numbers.items() if value is None or value < 0]
    known = np.isin(kinds, list(Kind)).all() and ((points >= 0) & (points < size)).all()
    if wrong or not known or not all(name.isidentifier() for name in names):
        raise FileFormatError(f"{file.filename!r}: the group {GROUP!r} is damaged", key=GROUP)
    return Certificate(
        points=points,
        kinds=kinds.astype(np.uint8),
        full=values("full"),
        stored=values("file"),
        wanted=numbers["wanted"] or 0,
        populations={kind: numbers[_population(kind)] or 0 for kind in Kind},
        seed=numbers["seed"] or 0,
        precision=text(group, "precision") or "",
        provenance=json_value(group, "provenance", dict),
    )


def _population(kind: Kind) -> str:
    return f"population_{kind.name.lower()}"
