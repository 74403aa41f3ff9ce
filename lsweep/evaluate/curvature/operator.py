"""The Hessian of the mean loss as a matrix-free linear operator.

H = ∂²L/∂w², L = Σ weights·values / Σ weights over all examples. A product is the gradient of gᵀv, g = ∂L/∂w
(Pearlmutter 1994), batch by batch; batches are summed in float64 and divided by the total weight. (The released code
of [Li18] sums over batches: its eigenvalues grow with the number of batches.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from lsweep.errors import InputError
from lsweep.evaluate.flat_parameters import FlatNetwork
from lsweep.evaluate.objective import Supervised
from lsweep.evaluate.out_of_memory import within_memory
from lsweep.models.parameters import Entry, tensors_of


class NotFinite(ArithmeticError):
    """The loss or a derivative of it is NaN or infinite, so there is no Hessian."""


class Hessian:
    """The Hessian at the current weights of a network, with respect to some of its parameters.

    A vector is the concatenation of these parameters, flattened in row-major order, in the order of the space's
    entries. BatchNorm is in evaluation mode, where running statistics are constants.

    Args:
        net: the network, with BatchNorm not folded, in the precision of the products.
        moved: whether the Hessian includes each of `net.space.entries`; buffers are always excluded.
        batch_size: examples per pass.

    Attributes:
        size: the number of parameters, which is the dimension of the vectors.
        products: number of products computed so far.
        batch_size: as given; halved when memory runs out.

    Raises:
        InputError: no parameter is left.
    """

    def __init__(self, net: FlatNetwork, moved: Sequence[bool], batch_size: int) -> None:
        self._net, self.batch_size, self.products = net, batch_size, 0
        pairs = zip(net.space.entries, tensors_of(net.model, net.space), moved, strict=True)
        active = [(entry, tensor) for entry, tensor, moves in pairs if moves and not entry.is_buffer]
        self._tensors = [tensor for _, tensor in active]
        self._sizes = [entry.numel for entry, _ in active]
        self.size = sum(self._sizes)
        if not active:
            raise InputError("the directions move no parameter, so there is no Hessian", key="directions")
        self._examples = next(iter(net.splits.values()))
        objective = net.objective
        # Metrics are left out: they do not contribute to the Hessian, and need not be differentiable.
        self._objective = Supervised(objective.loss) if isinstance(objective, Supervised) else objective
        self._double = torch.float64 if net.flat.device.type != "mps" else torch.float32

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        """H·v, float64 (size,) like v.

        Raises:
            NotFinite: the loss or a derivative is not finite.
            InputError: the loss has no gradient.
        """
        self.products += 1
        flat = torch.from_numpy(np.asarray(vector, dtype=np.float64)).to(
            self._net.flat.device, self._net.flat.dtype
        )
        pieces = [
            piece.view(t.shape) for piece, t in zip(flat.split(self._sizes), self._tensors, strict=True)
        ]
        result = within_memory(self, flat.device, lambda: self._product(pieces)).cpu().numpy()
        if not np.isfinite(result).all():
            raise NotFinite("the Hessian is not finite here")
        return result.astype(np.float64, copy=False)

    def gradient(self) -> np.ndarray:
        """∂L/∂w, float64 (size,)."""

        def work() -> torch.Tensor:
            total, weight = self._zero(), 0.0
            with _differentiable(self._tensors):
                for batch in self._examples.batches(self.batch_size):
                    loss, share = self._loss(batch)
                    total += self._joined(torch.autograd.grad(loss, self._tensors, materialize_grads=True))
                    weight += share
            return total / weight

        found: np.ndarray = within_memory(self, self._net.flat.device, work).cpu().numpy()
        return found.astype(np.float64, copy=False)

    def _product(self, pieces: list[torch.Tensor]) -> torch.Tensor:
        total, weight = self._zero(), 0.0
        # Fused attention has no second derivative.
        with _differentiable(self._tensors), sdpa_kernel(SDPBackend.MATH):
            for batch in self._examples.batches(self.batch_size):
                loss, share = self._loss(batch)
                weight += share
                first = torch.autograd.grad(loss, self._tensors, create_graph=True, materialize_grads=True)
                curved = [(g, piece) for g, piece in zip(first, pieces, strict=True) if g.requires_grad]
                if not curved:  # the loss is linear in all of them
                    continue
                second = torch.autograd.grad(
                    [g for g, _ in curved],
                    self._tensors,
                    [piece for _, piece in curved],
                    materialize_grads=True,
                )
                total += self._joined(second)
        return total / weight

    def _loss(self, batch: Any) -> tuple[torch.Tensor, float]:
        """The sum of weighted losses of a batch, and the sum of weights."""
        measured = self._objective(self._net.model, batch)["loss"]
        values, weight = measured if isinstance(measured, (tuple, list)) else (measured, None)
        if not values.requires_grad:
            raise InputError(
                "a Hessian needs a loss that can be differentiated, this one has no gradient "
                "(computed under no_grad, or detached?)",
                key="evaluate.metrics",
            )
        values = values.to(self._double)
        if weight is None:
            return values.sum(), float(values.numel())
        weight = weight.detach().to(self._double)
        return torch.where(weight == 0, 0.0, values * weight).sum(), float(weight.sum())

    def _joined(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat([t.detach().reshape(-1).to(self._double) for t in tensors])

    def _zero(self) -> torch.Tensor:
        return torch.zeros(self.size, dtype=self._double, device=self._net.flat.device)


def moved_by(directions: Sequence[Sequence[torch.Tensor]], entries: Sequence[Entry]) -> list[bool]:
    """Whether any direction moves each parameter, that is, has a nonzero element in it."""
    return [
        not entry.is_buffer and any(bool(direction[index].any()) for direction in directions)
        for index, entry in enumerate(entries)
    ]


def pack(tensors: Sequence[torch.Tensor], moved: Sequence[bool]) -> np.ndarray:
    """The tensors of a direction as a vector of `Hessian`, float64."""
    kept = [t.detach().reshape(-1).double() for t, moves in zip(tensors, moved, strict=True) if moves]
    return torch.cat(kept).cpu().numpy()


def unpack(vector: np.ndarray, entries: Sequence[Entry], moved: Sequence[bool]) -> list[torch.Tensor]:
    """A vector of `Hessian` as a direction: float32 tensors, zero for parameters that do not move."""
    flat, tensors, start = torch.from_numpy(np.asarray(vector)).float(), [], 0
    for entry, moves in zip(entries, moved, strict=True):
        if moves and not entry.is_buffer:
            tensors.append(flat[start : start + entry.numel].view(entry.shape).clone())
            start += entry.numel
        else:
            tensors.append(torch.zeros(entry.shape))
    return tensors


@contextmanager
def _differentiable(tensors: Sequence[torch.Tensor]) -> Iterator[None]:
    """Enable gradients for these parameters, including frozen ones, in any autograd mode of the caller."""
    before = [t.requires_grad for t in tensors]
    try:
        with torch.enable_grad():
            for t in tensors:
                t.requires_grad_(True)
            yield
    finally:
        for t, required in zip(tensors, before, strict=True):
            t.requires_grad_(required)
