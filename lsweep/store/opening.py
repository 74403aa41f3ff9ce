"""Creates or resumes a store, collectively, and checks the identity of a resumed file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lsweep import MOVED
from lsweep.comm import Comm
from lsweep.errors import ConfigError, IdentityError, InputError
from lsweep.store import reader, schema
from lsweep.store.base import Store
from lsweep.store.gather import GatherStore
from lsweep.store.memory import MemoryStore
from lsweep.store.mpio import MpioStore
from lsweep.store.schema import Header

LONGEST_NAME = 200  # bytes: the lock and the temporary file have longer names, and the limit is 255
DRAFTS_LIVE = (
    60.0  # seconds after which a draft of a lock is stale: one is normally linked within milliseconds
)


def choose_mode(mode: str, comm: Comm) -> str:
    """Resolve "auto": mpio if h5py has MPI and there is an MPI world, otherwise gather.

    Raises:
        ConfigError: mpio was requested but is not available.
    """
    parallel = is_parallel()
    if mode == "mpio" and not parallel:
        raise ConfigError(
            'store.mode = "mpio" needs an h5py built with MPI, and this one is not; set "gather", or build '
            "h5py against a parallel HDF5 as scripts/setup.sh does",
            key="store.mode",
        )
    if mode == "mpio" and comm.mpi is None:
        raise ConfigError('store.mode = "mpio" needs MPI; start lsweep with mpirun or srun', key="store.mode")
    if mode == "auto":
        return "mpio" if parallel and comm.mpi is not None else "gather"
    return mode


def is_parallel() -> bool:
    """Whether h5py has MPI."""
    return bool(h5py.get_config().mpi)


def hdf5_version() -> tuple[int, ...]:
    """The version of the HDF5 library that h5py uses."""
    return tuple(h5py.version.hdf5_version_tuple)


def prepare_output(path: Path) -> None:
    """Before any work: create the folder, and check that it is writable and that an existing file is a sweep.

    Raises:
        InputError: the folder cannot be created, or the folder or the file is not writable.
        FileFormatError: the path exists but is not a sweep.
    """
    taken = _is_taken(path)
    if path.is_dir():
        raise InputError(
            f"the output {str(path)!r} is a folder; name a file, as in results/sweep.h5", key="output"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):  # has no name, so a kill leaves nothing behind
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        full = " (make room)" if error.errno == errno.ENOSPC else ""
        raise InputError(
            f"cannot write to the folder {str(path.parent)!r}: {reason}{full}", key="output"
        ) from None
    if not taken:
        return
    if path.is_file():
        try:
            path.open("r+b").close()
        except OSError as error:
            raise InputError(
                f"cannot write to {str(path)!r}: {error.strerror}; change its permissions or name another output",
                key="output",
            ) from None
    # Check what a resume will read, so that errors in the file are reported before any work.
    reader.look_first(path, reader.read_identity, reader.read_directions)


def _is_taken(path: Path) -> bool:
    """Whether the path exists, possibly as a dangling link, which creating the file would replace."""
    try:
        if len(os.fsencode(path.name)) > LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot use the output {str(path)!r}: {reason}", key="output") from None
    return True


def open_store(path: Path | None, mode: str, comm: Comm, header: Header, sync_seconds: float = 5.0) -> Store:
    """Collective: create or resume the file; without a path, keep results in memory.

    Raises:
        IdentityError: the file belongs to another sweep; the message names the field and both values.
    """
    if path is None:
        return MemoryStore(comm, header, sync_seconds)

    def create_or_check() -> Any:
        remove_leftovers(path)
        ours = not path.exists()
        if ours:
            schema.create(path, header)
        return resumable(path, header, trusted=ours)

    status = comm.on_root(create_or_check)
    # Read before the file is opened for writing: HDF5 would refuse to open it a second time with another driver.
    refined = header.grid.refine is not None
    values = comm.on_root_only(lambda: _values(path, header.names)) if refined else None
    kind = {"gather": GatherStore, "mpio": MpioStore}[mode]
    store: Store = kind(comm, path, header, status, sync_seconds)
    store.values = values
    return store


def _values(path: Path, names: tuple[str, ...]) -> np.ndarray:
    surface = reader.read(path)
    return np.stack([surface.metrics[name].reshape(-1) for name in names])


def resumable(path: Path, header: Header, *, trusted: bool = False) -> np.ndarray:
    """Check that an existing file is the sweep that `header` describes; return the status of its points, uint8, flat.

    `trusted` means that this process has just created the file.

    Raises:
        IdentityError: the file belongs to another sweep; the message names the field and both values.
        FileFormatError: the file is damaged.
    """
    stored, names, status = reader.read_identity(path, trusted=trusted)
    require_same(stored, header.identity, path)
    if names != header.names:
        raise IdentityError(
            f"{str(path)!r} has the metrics {names}, this sweep has {header.names}; choose another output, or the same "
            "settings to resume",
            key="metrics",
        )
    return status


def remove_leftovers(path: Path) -> None:
    """Remove files that killed sessions left beside the output: incomplete files, drafts of locks, Open MPI's probes.

    Call it only under the lock of `path`, so that no other process is creating or opening the file. Another process may
    still be requesting the lock, so only old drafts of locks are removed.
    """
    name = re.escape(path.name)
    leftover = re.compile(rf"\.{name}\.\w{{8}}\.tmp|{name}\.locktest\.\d+|({name}\.lock\.[0-9a-f]{{32}})")
    for other in path.parent.iterdir():
        found = leftover.fullmatch(other.name)
        with contextlib.suppress(OSError):
            if found and (not found[1] or time.time() - other.stat().st_mtime > DRAFTS_LIVE):
                other.unlink()


def require_same(stored: Mapping[str, Any], ours: Mapping[str, Any], path: Path, what: str = "sweep") -> None:
    """Compare the stored identity of an output with that of the present run, field by field.

    Raises:
        IdentityError: they differ; the message names the first field and both values.
    """
    before, now = dict(_flat(stored)), dict(_flat(ours))
    for names in (before, now):
        if isinstance(names.get("loss"), str):
            names["loss"] = present_path(names["loss"])
    for field in [*now, *(f for f in before if f not in now)]:
        if before.get(field) != now.get(field):
            raise IdentityError(
                f"{str(path)!r} is another {what}: its {field} is {_brief(before.get(field))}, this one's is "
                f"{_brief(now.get(field))}; choose another output, or the same settings to resume",
                key=field,
            )


def present_path(name: str) -> str:
    """Update the module path in a stored name such as "lsweep.objective.mse#1f…" if the module has moved since."""
    root, _, rest = name.partition(".")
    parts = rest.split(".") if root == "lsweep" else []
    for count in range(len(parts) - 1, 0, -1):
        if moved := MOVED.get(".".join(parts[:count])):
            return ".".join([root, moved, *parts[count:]])
    return name


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
