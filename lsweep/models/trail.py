"""Trail: the checkpoints of a training, one file per epoch, with an index.

The folder holds `trail.json`, `epoch_0000.safetensors` (the initial weights), `epoch_0001.safetensors`, … and one
`resume_*.safetensors`. The index is replaced whole after what it names is durable; what it does not name is not
part of the trail. Epochs' files never change, so a trail can be read while it grows.
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
        number: how many epochs had passed; 0 is the start.
        lr: the learning rate of the epoch that ended here, of epoch 0 that of the first.
        values: "loss", "accuracy", "loss_test", … in evaluation mode, and "running_loss", "running_accuracy",
            the means over the epoch's batches as they were trained on.
        file: the checkpoint's name in the folder, or None where none was kept.
        sha256: of the checkpoint's tensors.
    """

    number: int
    lr: float
    values: Mapping[str, float] = field(default_factory=dict)
    file: str | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Resume:
    """Where a training that stopped goes on.

    Attributes:
        epoch: the epochs that are complete.
        step: the steps of the next one that are done.
        file: weights and optimiser state.
        sums: of the unfinished epoch, over the steps done: name → Σ.
    """

    epoch: int
    step: int
    file: str
    sums: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trail:
    """What the index says.

    Attributes:
        folder: where it lies.
        epochs: from 0 on.
        identity: what a resume must match.
        resume: where to go on; None for checkpoints of other programs.
        config: of the training, TOML text.
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
        """The file of a checkpoint."""
        assert epoch.file
        return self.folder / epoch.file

    @property
    def sha256(self) -> str:
        """What the checkpoints are, in one hash."""
        digest = hashlib.sha256()
        for epoch in self.checkpoints:
            digest.update(f"{epoch.number} {epoch.sha256}\n".encode())
        return digest.hexdigest()

    def to_json(self) -> str:
        """The index; a number that is not finite is null there."""
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
    """Read a trail's index; nothing in it is trusted unchecked.

    Raises:
        CheckpointError: no trail is there.
        FileFormatError: the index is damaged, or of a newer lsweep.
    """
    folder = Path(folder)
    index = folder / INDEX
    try:
        text = index.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(
            f"no trail at {str(folder)!r}: expected a folder with {INDEX}, as `lsweep train` writes it, or a "
            "pattern of checkpoints",
            key=str(folder),
        ) from None
    try:
        return _parse(folder, json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{str(index)!r} is damaged: {error}", key=str(index)) from None


def find(place: str) -> Trail:
    """A trail by its folder, or files of another program's checkpoints by a pattern, in natural order.

    Of the latter neither learning rates nor losses are known, and their place in the order is their number.

    Raises:
        CheckpointError: there is neither.
        FileFormatError: see `read`.
    """
    if is_trail(place) or not (files := [f for f in glob.glob(place) if Path(f).is_file()]):
        return read(place)
    files.sort(key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])
    epochs = [Epoch(i, math.nan, file=str(Path(f).absolute()), sha256=_hash(f)) for i, f in enumerate(files)]
    return Trail(Path(), tuple(epochs))


def last_checkpoint(folder: str | Path) -> Path:
    """The file with a trail's last weights.

    Raises:
        CheckpointError: it has none.
    """
    trail = find(str(folder))
    if not trail.checkpoints:
        raise CheckpointError(f"the trail {str(folder)!r} holds no checkpoint yet", key=str(folder))
    return trail.path(trail.checkpoints[-1])


def _parse(folder: Path, table: Any) -> Trail:
    if table.get("format") != FORMAT:
        raise ValueError(f"its format is {table.get('format')!r}, not {FORMAT!r}")
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
    """A file's name that stays in the folder."""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"it names {name!r}, which is no file of the folder")
    return name


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
