"""Creates or resumes a store, collectively; compares the identity of a resumed file."""

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

LONGEST_NAME = 200  # bytes: the lock and the temporary file have longer ones, and 255 is the most
DRAFTS_LIVE = 60.0  # seconds: a lock is drafted and linked within milliseconds


def choose_mode(mode: str, comm: Comm) -> str:
    """Resolve "auto": mpio where h5py has MPI and there is an MPI world, else gather.

    Raises:
        ConfigError: mpio was asked for and cannot be had.
    """
    parallel = is_parallel()
    if mode == "mpio" and not parallel:
        raise ConfigError(
            'store.mode = "mpio" needs an h5py built with MPI, and this one is not; set "gather", or build '
            "h5py against a parallel HDF5 (scripts/setup.sh does)",
            key="store.mode",
        )
    if mode == "mpio" and comm.mpi is None:
        raise ConfigError('store.mode = "mpio" needs MPI; start lsweep by mpirun or srun', key="store.mode")
    if mode == "auto":
        return "mpio" if parallel and comm.mpi is not None else "gather"
    return mode


def is_parallel() -> bool:
    """Whether h5py has MPI."""
    return bool(h5py.get_config().mpi)


def hdf5_version() -> tuple[int, ...]:
    """The version of the HDF5 library under h5py."""
    return tuple(h5py.version.hdf5_version_tuple)


def prepare_output(path: Path) -> None:
    """Before any work: make the folder, see that it can be written, and that what is there is a sweep.

    Raises:
        InputError: the folder cannot be made or written to, or the file cannot.
        FileFormatError: the path is taken by something that is no sweep.
    """
    taken = _is_taken(path)
    if path.is_dir():
        raise InputError(
            f"the output {str(path)!r} is a folder; name a file, as in results/sweep.h5", key="output"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):  # nameless: a kill leaves nothing behind
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
                f"cannot write to {str(path)!r}: {error.strerror}; allow writing to it", key="output"
            ) from None
    # What a resume will read, so that whatever is wrong with it is said before any work.
    reader.look_first(path, reader.read_identity, reader.read_directions)


def _is_taken(path: Path) -> bool:
    """Whether something is there; also a link to nothing, which creating the file would replace."""
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
    """Collective: create the file or resume it; without a path, keep results in memory.

    Raises:
        IdentityError: the file belongs to another sweep; names the field and both values.
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
    # Before it is open for writing: HDF5 would refuse to open it a second time, by another driver.
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
    """The status of an existing file's points, uint8, flat, if it is the sweep that `header` describes.

    `trusted`: this process has just made it.

    Raises:
        IdentityError: the file belongs to another sweep; names the field and both values.
        FileFormatError: it is damaged.
    """
    stored, names, status = reader.read_identity(path, trusted=trusted)
    require_same(stored, header.identity, path)
    if names != header.names:
        raise IdentityError(
            f"{str(path)!r} records the metrics {names}, this sweep {header.names}", key="metrics"
        )
    return status


def remove_leftovers(path: Path) -> None:
    """Remove what killed sessions left beside the file: half-made files, drafts of locks, probes of Open MPI.

    Only under the lock of `path`: nobody else is making or opening it. But somebody may be asking for the
    lock at this moment, so its drafts must be old.
    """
    name = re.escape(path.name)
    leftover = re.compile(rf"\.{name}\.\w{{8}}\.tmp|{name}\.locktest\.\d+|({name}\.lock\.[0-9a-f]{{32}})")
    for other in path.parent.iterdir():
        found = leftover.fullmatch(other.name)
        with contextlib.suppress(OSError):
            if found and (not found[1] or time.time() - other.stat().st_mtime > DRAFTS_LIVE):
                other.unlink()


def require_same(stored: Mapping[str, Any], ours: Mapping[str, Any], path: Path, what: str = "sweep") -> None:
    """Compare what an output began with and what is to go on, field by field.

    Raises:
        IdentityError: they differ; names the first field and both values.
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
    """A stored name such as "lsweep.objective.mse#1f…", with the present path of a module that has moved since."""
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
