"""Matrix of a trail's checkpoints, rows θᵢ − θ*, read from their files a few columns at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lsweep.errors import CheckpointError
from lsweep.models import checkpoint
from lsweep.models.parameters import WeightSpace

# Bytes of a block of all rows in memory, float64.
BUDGET = 256 << 20

Piece = tuple[int, int, int]  # an entry, and its range along the first dimension


class CheckpointRows:
    """See `trajectory.Rows`. Columns are the moving entries' elements in their order.

    Args:
        files: one checkpoint per row.
        model: the network, for messages about mismatches.
        space: the entries.
        moving: whether each of them is included.
        centre: θ*, one tensor per entry.
        budget: maximum bytes of a block.

    Raises:
        CheckpointError: a file does not fit the network.
    """

    def __init__(
        self,
        files: Sequence[Path],
        model: nn.Module,
        space: WeightSpace,
        moving: Sequence[bool],
        centre: Sequence[torch.Tensor],
        budget: int = BUDGET,
    ) -> None:
        self.count = len(files)
        self._files, self._model, self._space = list(files), model, space
        self._moving = [i for i, (_, moves) in enumerate(zip(space.entries, moving, strict=True)) if moves]
        self._centre = [t.detach().cpu().double().numpy() for t in centre]
        self.size = sum(space.entries[index].numel for index in self._moving)
        self._blocks = list(self._cut(max(1, budget // (8 * max(1, self.count)))))

    def blocks(self) -> Iterator[np.ndarray]:
        """See `trajectory.Rows`."""
        for pieces in self._blocks:
            centre = self._flat(pieces, [self._centre[index] for index, _, _ in pieces], whole=True)
            block = np.empty((self.count, len(centre)))
            for row, file in zip(block, self._files, strict=True):
                np.subtract(self._read(file, pieces), centre, out=row)
            yield block

    def tensors(self, axis: np.ndarray) -> list[torch.Tensor]:
        """An axis (size,) as one float32 tensor per entry of the space; zero in entries that do not move."""
        made = [torch.zeros(entry.shape) for entry in self._space.entries]
        at = 0
        for index in self._moving:
            entry = self._space.entries[index]
            made[index] = torch.from_numpy(axis[at : at + entry.numel].astype(np.float32)).reshape(
                entry.shape
            )
            at += entry.numel
        return made

    def vector(self, direction: Sequence[torch.Tensor]) -> np.ndarray:
        """One tensor per entry as an axis (size,) float32: the reverse of `tensors`."""
        kept = [direction[index].detach().cpu().float().reshape(-1).numpy() for index in self._moving]
        return np.concatenate(kept)

    def _cut(self, width: int) -> Iterator[list[Piece]]:
        """Pieces of entries, with about `width` columns per block."""
        pieces: list[Piece] = []
        filled = 0
        for index in self._moving:
            shape = self._space.entries[index].shape
            across = math.prod(shape[1:])
            start = 0
            while start < _length(shape):
                stop = min(_length(shape), start + max(1, (width - filled) // max(1, across)))
                pieces.append((index, start, stop))
                filled += (stop - start) * across
                start = stop
                if filled >= width - across + 1:
                    yield pieces
                    pieces, filled = [], 0
        if pieces:
            yield pieces

    def _read(self, file: Path, pieces: Sequence[Piece]) -> np.ndarray:
        if file.suffix == ".safetensors":
            sliced = self._slices(file, pieces)
            if sliced is not None:
                return self._flat(pieces, sliced)
        # Files of other programs can only be read whole.
        state = checkpoint.check_fit(self._model, checkpoint.read(file), str(file))
        entire = [state[self._space.entries[index].name].float().numpy() for index, _, _ in pieces]
        return self._flat(pieces, entire, whole=True)

    def _slices(self, file: Path, pieces: Sequence[Piece]) -> list[np.ndarray] | None:
        """The values of the pieces; None if the names in the file are not those of the network."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as stored:
                names = set(stored.keys())
                found = []
                for index, start, stop in pieces:
                    entry = self._space.entries[index]
                    if entry.name not in names:
                        return None
                    part = stored.get_slice(entry.name)
                    if tuple(part.get_shape()) != entry.shape:
                        raise CheckpointError(
                            f"{str(file)!r} does not fit the network: {entry.name} has shape "
                            f"{tuple(part.get_shape())} instead of {entry.shape}",
                            key=str(file),
                        )
                    tensor = part[start:stop] if entry.shape else stored.get_tensor(entry.name)
                    found.append(tensor.float().numpy())
                return found
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{str(file)!r} is not a readable checkpoint: {error}", key=str(file)
            ) from None

    @staticmethod
    def _flat(pieces: Sequence[Piece], arrays: Sequence[np.ndarray], *, whole: bool = False) -> np.ndarray:
        """The concatenated arrays, (w,) float64; with `whole`, entire entries, from which pieces are cut."""
        taken = [
            array[a:b] if whole and array.ndim else array
            for (_, a, b), array in zip(pieces, arrays, strict=True)
        ]
        return np.concatenate([np.asarray(part, dtype=np.float64).reshape(-1) for part in taken])


def _length(shape: Sequence[int]) -> int:
    return shape[0] if shape else 1
