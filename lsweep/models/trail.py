"""Trail: the checkpoints of a training run, one file per epoch, with an index.

The folder contains `trail.json`, `epoch_0000.safetensors` (the initial weights), `epoch_0001.safetensors`, … and one
`resume_*.safetensors`. The index is replaced atomically after the files that it names are durable; other files are not
part of the trail. The files of epochs never change, so a trail can be read while it grows.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsweep.errors import CheckpointError, FileFormatError

INDEX = "trail.json"
FORMAT = "lsweep trail"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training.

    Attributes:
        number: the number of completed epochs; 0 is the start.
        lr: the learning rate of the epoch that ended here; for epoch 0 that of the first epoch.
        values: "loss", "accuracy", "loss_test", … in evaluation mode, and "running_loss", "running_accuracy",
            the averages over the epoch's training batches.
        file: the name of the checkpoint's file in the folder, or None if it was not kept.
        sha256: hash of the checkpoint's tensors.
    """

    number: int
    lr: float
    values: Mapping[str, float] = field(default_factory=dict)
    file: str | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Resume:
    """The state from which a stopped training resumes.

    Attributes:
        epoch: the number of complete epochs.
        step: the number of completed steps of the next epoch.
        file: the file with weights and optimiser state.
        sums: name → sum over the completed steps of the unfinished epoch.
    """

    epoch: int
    step: int
    file: str
    sums: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trail:
    """The contents of the index.

    Attributes:
        folder: the folder of the trail.
        epochs: the epochs, from 0 on.
        identity: the properties that a resumed training must match.
        resume: the state from which to resume; None for checkpoints of other programs.
        config: the configuration of the training, TOML text.
        provenance: versions, commit, hardware.
    """

    folder: Path
    epochs: tuple[Epoch, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    resume: Resume | None = None
    config: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def checkpoints(self) -> list[Epoch]:
        """The epochs whose weights were kept, in order."""
        return [epoch for epoch in self.epochs if epoch.file]

    def path(self, epoch: Epoch) -> Path:
        """The path of a checkpoint's file."""
        assert epoch.file
        return self.folder / epoch.file

    @property
    def sha256(self) -> str:
        """One hash of all checkpoints."""
        digest = hashlib.sha256()
        for epoch in self.checkpoints:
            digest.update(f"{epoch.number} {epoch.sha256}\n".encode())
        return digest.hexdigest()

    def to_json(self) -> str:
        """The index as JSON; numbers that are not finite become null."""
        table = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "identity": self.identity,
            "resume": vars(self.resume) if self.resume else None,
            "epochs": [
                {**vars(e), "values": {k: v if math.isfinite(v) else None for k, v in e.values.items()}}
                for e in self.epochs
            ],
            "config": self.config,
            "provenance": self.provenance,
        }
        return json.dumps(table, indent=1, allow_nan=False)


def is_trail(path: str | Path) -> bool:
    """Whether a folder is a trail."""
    return os.path.isfile(os.path.join(path, INDEX))  # `Path.is_file` raises for a name that is too long


def read(folder: str | Path) -> Trail:
    """Read and check a trail's index.

    Raises:
        CheckpointError: the folder contains no trail.
        FileFormatError: the index is damaged, or was written by a newer lsweep.
    """
    folder = Path(folder)
    index = folder / INDEX
    try:
        text = index.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(
            f"no trail at {str(folder)!r}; expected a folder with {INDEX}, as written by `lsweep train`, or a glob "
            "pattern of checkpoints",
            key=str(folder),
        ) from None
    try:
        return _parse(folder, json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{str(index)!r} is damaged: {error}", key=str(index)) from None


def find(place: str) -> Trail:
    """Find a trail by its folder, or checkpoints of another program by a glob pattern, in natural order.

    For the latter, learning rates and losses are unknown, and the epochs are numbered in that order.

    Raises:
        CheckpointError: there is no trail and no file that matches the pattern.
        FileFormatError: see `read`.
    """
    if is_trail(place) or not (files := [f for f in glob.glob(place) if Path(f).is_file()]):
        return read(place)
    files.sort(key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])
    epochs = [Epoch(i, math.nan, file=str(Path(f).absolute()), sha256=_hash(f)) for i, f in enumerate(files)]
    return Trail(Path(), tuple(epochs))


def last_checkpoint(folder: str | Path) -> Path:
    """The file of a trail's last checkpoint.

    Raises:
        CheckpointError: the trail has no checkpoint.
    """
    trail = find(str(folder))
    if not trail.checkpoints:
        raise CheckpointError(f"the trail {str(folder)!r} contains no checkpoint yet", key=str(folder))
    return trail.path(trail.checkpoints[-1])


def _parse(folder: Path, table: Any) -> Trail:
    if table.get("format") != FORMAT:
        raise ValueError(f"its format is {table.get('format')!r}, expected {FORMAT!r}")
    if type(table["format_version"]) is not int or table["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"format version {table['format_version']}, this lsweep reads up to {FORMAT_VERSION}; update lsweep"
        )
    resume = table["resume"]
    return Trail(
        folder=folder,
        epochs=tuple(_epoch(row) for row in table["epochs"]),
        identity=dict(table["identity"]),
        resume=None
        if resume is None
        else Resume(
            int(resume["epoch"]), int(resume["step"]), _inside(resume["file"]), _numbers(resume["sums"])
        ),
        config=str(table["config"]),
        provenance=dict(table["provenance"]),
    )


def _epoch(row: Mapping[str, Any]) -> Epoch:
    file = None if row["file"] is None else _inside(row["file"])
    return Epoch(int(row["number"]), float(row["lr"]), _numbers(row["values"]), file, str(row["sha256"]))


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    return {str(key): math.nan if value is None else float(value) for key, value in table.items()}


def _inside(name: Any) -> str:
    """Check that a file name refers to a file in the folder."""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"it names {name!r}, which is not a file in the folder")
    return name


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
