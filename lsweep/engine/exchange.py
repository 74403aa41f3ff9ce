"""Exchange of measured per-example losses between ranks after each round, and the cache file that a resume reads.

The cache is optional: missing losses are measured again. So it is written without fsync, one record per round, with
length and checksum; reading stops at the first incomplete record.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lsweep.comm import Comm
from lsweep.errors import DataError
from lsweep.evaluate.sampling.example_losses import MeasuredLosses, Neighbours
from lsweep.surface import Status

log = logging.getLogger("lsweep")

Losses = Mapping[int, Mapping[str, MeasuredLosses]]  # by point and split

MAGIC = b"lsweepE1"
RECORD = struct.Struct("<QI")  # length, CRC-32
ENTRY = struct.Struct("<qII")  # point, place of the split, examples


class ExampleCache:
    """The file OUTPUT.examples of one sweep. Only the process with the output's lock uses it.

    Args:
        output: output file of the sweep.
        identity: identity of the sweep, in JSON types; the cache of another sweep is ignored.
        points: number of grid points.
        examples: split → number of examples.
    """

    def __init__(
        self, output: Path, identity: Mapping[str, Any], points: int, examples: Mapping[str, int]
    ) -> None:
        self.path = output.with_name(output.name + ".examples")
        text = json.dumps(identity, sort_keys=True, default=str)
        self._head = MAGIC + hashlib.sha256(text.encode()).digest()
        self._points, self._examples, self._splits = points, examples, list(examples)
        self._end = 0
        self._broken = False

    def read(self) -> Iterator[Losses]:
        """The complete records, in order; later records will overwrite incomplete ones."""
        self._end = 0
        try:
            if not self.path.is_file():
                return
            with self.path.open("rb") as file:
                size = self.path.stat().st_size
                if file.read(len(self._head)) != self._head:
                    return
                self._end = file.tell()
                while len(head := file.read(RECORD.size)) == RECORD.size:
                    length, checksum = RECORD.unpack(head)
                    if length > size - file.tell():
                        return
                    content = file.read(length)
                    if zlib.crc32(content) != checksum:
                        return
                    losses = self._unpacked(content)
                    self._end = file.tell()
                    yield losses
        except (OSError, DataError) as error:
            log.info("%r is not used, and its losses are measured again: %s", str(self.path), error)

    def append(self, losses: Losses) -> None:
        """Append a record after the complete ones that `read` found; if that fails, warn once and append no more."""
        if self._broken or not losses:
            return
        content = b"".join(self._packed(losses))
        record = RECORD.pack(len(content), zlib.crc32(content)) + content
        try:
            if self.path.exists() and not self.path.is_file():
                raise OSError("it is not a regular file")
            with self.path.open("r+b" if self.path.exists() else "xb") as file:
                file.truncate(self._end)
                file.seek(self._end)
                file.write(record if self._end else self._head + record)
                self._end = file.tell()
        except OSError as error:
            self._broken = True
            log.warning(
                "%r cannot be written (%s): a resume will measure more losses again", str(self.path), error
            )

    def remove(self) -> None:
        """Remove the file; a complete sweep does not need it."""
        try:
            if self.path.is_file():
                self.path.unlink()
        except OSError as error:
            log.warning("%r is no longer needed, but cannot be removed: %s", str(self.path), error)

    def _packed(self, losses: Losses) -> Iterator[bytes]:
        for point, by_split in sorted(losses.items()):
            for split, measured in by_split.items():
                yield ENTRY.pack(point, self._splits.index(split), len(measured.examples))
                yield measured.examples.astype("<i4").tobytes()
                yield measured.losses.astype("<f4").tobytes()

    def _unpacked(self, content: bytes) -> dict[int, dict[str, MeasuredLosses]]:
        losses: dict[int, dict[str, MeasuredLosses]] = {}
        at = 0
        while at < len(content):
            if at + ENTRY.size > len(content):
                raise DataError("a record is too short")
            point, place, count = ENTRY.unpack_from(content, at)
            at += ENTRY.size
            if not (0 <= point < self._points and place < len(self._splits)):
                raise DataError(f"there is no point {point} of split {place}")
            if at + 8 * count > len(content):
                raise DataError("a record is too short")
            split = self._splits[place]
            examples = np.frombuffer(content, "<i4", count, at).astype(np.int32)
            values = np.frombuffer(content, "<f4", count, at + 4 * count).astype(np.float32)
            if count and not (examples.min() >= 0 and examples.max() < self._examples[split]):
                raise DataError(f"there are only {self._examples[split]} examples")
            losses.setdefault(point, {})[split] = MeasuredLosses(examples, values)
            at += 8 * count
        return losses


class Exchange:
    """Keeps the `Neighbours` of all ranks equal. Each rank has one instance.

    Args:
        comm: the ranks.
        neighbours: the instance that this rank's evaluator uses.
        cache: losses kept for a resume, used on rank 0 only; None keeps nothing.
    """

    def __init__(self, comm: Comm, neighbours: Neighbours, cache: ExampleCache | None = None) -> None:
        self._comm, self._neighbours, self._cache = comm, neighbours, cache
        self._lacking = np.zeros(len(neighbours.steps), dtype=bool)

    @property
    def steps(self) -> np.ndarray:
        """(size,) the step in which each point is evaluated; see `Neighbours`."""
        return self._neighbours.steps

    def open(self, status: np.ndarray) -> None:
        """Collective: read the stored losses of completed points.

        Args:
            status: (size,), status of all points when the session begins.
        """
        done = status == Status.DONE
        self._lacking = done & self._neighbours.useful
        records = self._cache.read() if self._cache is not None and self._comm.is_root else iter(())
        while (record := self._comm.on_root(lambda: next(records, None))) is not None:
            for point, measured in sorted(record.items()):
                if self._lacking[point]:
                    self._neighbours.learn(point, measured)
                    self._lacking[point] = False

    def lacking(self, step: int) -> np.ndarray:
        """Flat indices of completed points of that step whose per-example losses are missing; each is returned once."""
        points = np.flatnonzero(self._lacking & (self.steps == step))
        self._lacking[points] = False
        if len(points) and self._comm.is_root:
            log.info("%d points are evaluated again: their per-example losses were not kept", len(points))
        return points

    def share(self) -> None:
        """Collective: send what each rank has measured since the last call to all ranks."""
        measured = {}
        for noted in self._comm.allgather(self._neighbours.take()):
            measured.update(noted)
        for point in sorted(measured):
            self._neighbours.learn(point, measured[point])
        if self._cache is not None and self._comm.is_root:
            self._cache.append(measured)
