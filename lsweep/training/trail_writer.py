"""Writes a trail: tensors first, the index last, each file durable before the next.

If the process is killed at any moment, the folder contains the previous index and all files that it names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from lsweep.errors import InputError, MissingExtra, StoreError
from lsweep.models import parameters
from lsweep.models import trail as trails
from lsweep.models.checkpoint import read_tensors
from lsweep.models.trail import Epoch, Resume, Trail
from lsweep.store.opening import require_same
from lsweep.store.schema import fsync_path
from lsweep.tools.files import replacing

Tensors = Mapping[str, torch.Tensor]


def claim(folder: Path) -> None:
    """Create the folder and check that it is writable and empty or a trail.

    Raises:
        InputError: the folder cannot be created or written to, or contains something else.
        FileFormatError: the trail's index is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot create the folder {str(folder)!r}: {error.strerror}", key="train.trail"
        ) from None
    if trails.is_trail(folder):
        trails.read(folder)
    elif foreign := [p.name for p in folder.iterdir() if not _ours(p.name)]:
        raise InputError(
            f"the folder {str(folder)!r} contains {foreign[0]!r} and no {trails.INDEX}; name an empty or a new one",
            key="train.trail",
        )
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write to the folder {str(folder)!r}", key="train.trail")


class TrailWriter:
    """Appends to a trail; only the holder of the trail's lock may use it.

    Attributes:
        trail: the trail as stored on disk, and the epochs noted since.
    """

    def __init__(self, trail: Trail, guard: Callable[[], None]) -> None:
        self.trail, self._guard = trail, guard

    @classmethod
    def open(cls, new: Trail, guard: Callable[[], None]) -> TrailWriter:
        """Resume the trail in `new.folder`, or start a new one.

        Raises:
            IdentityError: the folder contains another training's trail; the message names the field and both values.
        """
        if trails.is_trail(new.folder):
            found = trails.read(new.folder)
            require_same(found.identity, new.identity, new.folder, "training")
            new = found
        _remove_leftovers(new)
        return cls(new, guard)

    def add(self, epoch: Epoch, state: Tensors, resume: Resume, everything: Tensors) -> None:
        """Append an epoch with its checkpoint.

        Args:
            epoch: the epoch without its file and hash.
            state: the state dict of the network.
            resume: the state from which to resume; the name of its file is set here.
            everything: the tensors that `resume` needs: weights and optimiser state.
        """
        kept = dataclasses.replace(
            epoch, file=f"epoch_{epoch.number:04d}.safetensors", sha256=parameters.sha256(*state.values())
        )
        self._guard()
        _write(self.trail.path(kept), state)
        self.suspend([*self.trail.epochs, kept], resume, everything)

    def suspend(self, epochs: list[Epoch], resume: Resume, everything: Tensors) -> None:
        """Write the state from which to resume, and an index with these epochs."""
        self._guard()
        resume = dataclasses.replace(resume, file=f"resume_{resume.epoch:04d}_{resume.step:06d}.safetensors")
        _write(self.trail.folder / resume.file, everything)
        grown = dataclasses.replace(self.trail, epochs=tuple(epochs), resume=resume)
        self._guard()
        with _in_words(self.trail.folder), replacing(self.trail.folder / trails.INDEX) as temporary:
            temporary.write_text(grown.to_json(), encoding="utf-8")
            fsync_path(temporary)
        fsync_path(self.trail.folder)
        self.trail = grown
        _remove_leftovers(grown)

    def note(self, epoch: Epoch) -> None:
        """Append an epoch without a checkpoint; it becomes durable with the next one."""
        self.trail = dataclasses.replace(self.trail, epochs=(*self.trail.epochs, epoch))

    def resume_state(self) -> dict[str, torch.Tensor]:
        """Read the tensors that were stored as `everything`."""
        assert self.trail.resume is not None
        return read_tensors(self.trail.folder / self.trail.resume.file)


def _write(path: Path, tensors: Tensors) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise MissingExtra("training needs safetensors: pip install '.[torch]' in lsweep's clone") from None
    # Copied, because safetensors refuses tensors that share memory, such as tied weights.
    own = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    with _in_words(path.parent), replacing(path) as temporary:
        save_file(own, temporary)
        fsync_path(temporary)
    fsync_path(path.parent)


@contextlib.contextmanager
def _in_words(folder: Path) -> Any:
    try:
        yield
    except Exception as error:  # SafetensorError hides the system's reason in its text
        number = getattr(error, "errno", None)
        if number is None and "No space left" in str(error):
            number = errno.ENOSPC
        reason = os.strerror(number) if number else f"{type(error).__name__}: {error}"
        raise StoreError(
            f"the trail {str(folder)!r} cannot be written any more: {reason}; its checkpoints so far are intact; "
            "free some space and run the same command again",
            errno=number,
        ) from None


def _remove_leftovers(trail: Trail) -> None:
    """Remove partial files that a killed run left, and resume files that are no longer needed."""
    needed = {trail.resume.file} if trail.resume else set()
    for path in trail.folder.iterdir():
        stale = path.name.startswith("resume_") and path.name not in needed
        # lsweep's temporary files end in .tmp; those of safetensors begin with .tmp.
        if stale or (path.name.startswith(".") and (path.suffix == ".tmp" or path.name.startswith(".tmp"))):
            path.unlink(missing_ok=True)


def _ours(name: str) -> bool:
    """Whether a run that was killed before it wrote an index may have left this file."""
    return name.startswith(("epoch_", "resume_", ".epoch_", ".resume_", f".{trails.INDEX}"))
