"""Evaluator of all examples at each point, in the network's own precision.

Sums over examples are float64 on the device, and the host reads them once per tile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import fx, nn

from lsweep.errors import InputError
from lsweep.evaluate.determinism import repeats, require_deterministic
from lsweep.evaluate.flat_parameters import Cast, Examples, FlatNetwork, restored
from lsweep.evaluate.interface import Evaluation, Evaluator
from lsweep.evaluate.kernels import fusion
from lsweep.evaluate.kernels.graphs import Capture, Replay, cuda_capture
from lsweep.evaluate.objective import Objective
from lsweep.evaluate.out_of_memory import within_memory
from lsweep.models.batchnorm import Recalibration
from lsweep.models.parameters import WeightSpace, tensors_of
from lsweep.surface import Column

T = TypeVar("T")

_LARGEST = 1e30


class ExactEvaluator(Evaluator):
    """Evaluates an objective over one or two splits. Use `exact_evaluator` to make one.

    Attributes:
        names: the metrics in order; those of a second split end in its name ("loss_test").
        notes: noteworthy conditions, with the number of points at which each occurred.
        net: the borrowed network.
        columns: further numbers per point; "batch_size" is reduced when memory runs out.
        batch_size: examples per forward pass.
    """

    columns: Mapping[str, Column] = MappingProxyType({"batch_size": ("<i4", 0)})

    def __init__(self, net: FlatNetwork, batch_size: int) -> None:
        super().__init__()
        self.net, self.batch_size = net, batch_size
        self._splits, self._objective, self._flat = net.splits, net.objective, net.flat
        fuses = fusion.is_faster(net.model, net.flat.dtype, net.flat.device)
        self._model: nn.Module = fusion.fused_copy(cast(fx.GraphModule, net.model)) if fuses else net.model
        moves_buffers = any(entry.is_buffer for entry in net.space.entries)
        self._variances = _running_variances(net.model) if moves_buffers else []
        self._replay: Replay | None = None
        self._recorder: Capture | None = None
        self.capture(cuda_capture if net.flat.device.type == "cuda" else None)
        self._metrics = self._in_memory(self._dry_run)
        self.names = tuple(
            self._column(split, name) for split, names in self._metrics.items() for name in names
        )

    @property
    def is_fused(self) -> bool:
        """Whether convolutions are fused with the operations after them (`kernels.fusion`)."""
        return self._model is not self.net.model

    @contextmanager
    def in_steps(self) -> Iterator[None]:
        """Evaluate with the original network: fused kernels treat non-finite values differently.

        They may turn an infinity into the largest finite number.
        """
        before = self._model, self._replay
        self._model, self._replay = self.net.model, None
        try:
            yield
        finally:
            self._model, self._replay = before

    def capture(self, recorder: Capture | None) -> None:
        """Use this recorder for batches from now on; None runs them directly. See `kernels.graphs`."""
        self._recorder = recorder
        measure = partial(self._objective, self._model)
        self._replay = None if recorder is None else Replay(measure, recorder)

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first; see `Evaluator`."""
        start = time.perf_counter()
        marks, sizes = [], []
        with torch.no_grad():
            sums = []
            for point in coordinates:
                self.net.move(point)
                sums.append(self._in_memory(self._sums_and_state))
                sizes.append(self.batch_size)
                marks.append(time.perf_counter())
            found = torch.stack(sums).cpu().numpy()
            if self.is_fused:
                for row in np.flatnonzero(~is_plausible(found)):
                    self.net.move(coordinates[row])
                    with self.in_steps():
                        found[row] = self._in_memory(self._sums_and_state).cpu().numpy()
            values = self._without_impossible(found)
        # On a GPU the marks only show when work was queued, so the tile's time is divided evenly.
        stop = time.perf_counter()
        on_cpu = self._flat.device.type == "cpu"
        seconds = (
            np.diff([start, *marks]) if on_cpu else np.full(len(marks), (stop - start) / max(1, len(marks)))
        )
        return Evaluation(values, seconds, {"batch_size": np.array(sizes, dtype=np.int32)})

    def try_out(self, batch_size: int, examples: int) -> int:
        """Evaluate about the first `examples` of the first split and synchronise, for timing.

        Returns:
            the number of examples evaluated.
        """
        split, count = next(iter(self._splits)), 0
        with torch.no_grad():
            for batch in self._splits[split].batches(batch_size):
                measured = self._objective(self._model, batch)
                values, _ = _weighted("loss", measured["loss"])
                count += len(values)
                if count >= examples:
                    break
            values.sum().item()
        return count

    def _in_memory(self, work: Callable[[], T]) -> T:
        return within_memory(self, self._flat.device, work)

    def _sums_and_state(self) -> torch.Tensor:
        """(metrics + 1,): the last one is nonzero if a BatchNorm variance is negative; the host reads it later."""
        sums = [self._sums(split) for split in self._splits]
        broken = [v.min() < 0 for v in self._variances]
        state = torch.stack(broken).any() if broken else torch.zeros((), device=self._flat.device)
        return torch.cat([*sums, state.to(sums[0]).view(1)])

    def _without_impossible(self, found: np.ndarray) -> np.ndarray:
        """The metrics; NaN if a BatchNorm variance is negative, where the network is undefined."""
        values, broken = found[:, :-1], found[:, -1] > 0
        if broken.any():
            note = "a BatchNorm variance is negative, so the network is undefined: its loss is NaN"
            self.notes[note] += int(broken.sum())
            losses = ("loss", *(f"loss_{split}" for split in self._splits))
            for index in (i for i, name in enumerate(self.names) if name in losses):
                values[broken, index] = np.nan
        return values

    def _sums(self, split: str) -> torch.Tensor:
        names = self._metrics[split]
        device = self._flat.device
        double = torch.float64 if device.type != "mps" else torch.float32
        totals = torch.zeros(len(names), dtype=double, device=device)
        weights = torch.zeros(len(names), dtype=double, device=device)
        for batch in self._splits[split].batches(self.batch_size):
            measured = self._measure(batch)
            for index, name in enumerate(names):
                values, weight = _weighted(name, measured[name])
                values = values.detach().to(double)
                if weight is None:
                    totals[index] += values.sum()
                    weights[index] += values.numel()
                else:
                    weight = weight.detach().to(double)
                    # Examples of weight zero are ignored, even if NaN.
                    totals[index] += torch.where(weight == 0, 0.0, values * weight).sum()
                    weights[index] += weight.sum()
        return totals / weights

    def _measure(self, batch: Any) -> Mapping[str, Any]:
        if self._replay is None:
            return self._objective(self._model, batch)
        return self._replay(batch, self.batch_size)

    def _dry_run(self) -> dict[str, tuple[str, ...]]:
        """Find the names of the metrics on one batch of each split, and check that they are deterministic."""
        self.net.move([0.0] * len(self.net.directions))
        found = {}
        with torch.no_grad():
            for split in self._splits:
                batch = next(self._splits[split].batches(self.batch_size))
                # cuDNN does not guarantee determinism for fused kernels, and torch does not request it.
                if self.is_fused and not repeats(partial(self._objective, self._model, batch)):
                    self._model = self.net.model
                    self.capture(self._recorder)
                measured = require_deterministic(self._model, partial(self._objective, self._model, batch))
                found[split] = _checked_names(measured)
        return found

    def _column(self, split: str, name: str) -> str:
        first = next(iter(self._splits))
        return name if split == first else f"{name}_{split}"


@contextmanager
def exact_evaluator(
    model: nn.Module,
    splits: Mapping[str, Examples],
    objective: Objective,
    space: WeightSpace,
    directions: Sequence[Sequence[torch.Tensor]],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    batch_size: int = 100,
    check: Callable[[nn.Module, Any, int], None] | None = None,
    recalibrate: Examples | None = None,
) -> Iterator[ExactEvaluator]:
    """Make an evaluator that borrows a model; afterwards the model's weights, mode and device are restored.

    Args:
        model: the trained network; its current weights are θ*.
        splits: name → examples, the first one under the plain metric names.
        objective: see `objective`.
        space: the tensors that move.
        directions: one list of tensors per axis, as returned by `lsweep.directions.make`.
        device: device of the computation.
        dtype: precision of the computation, also of the sum θ* + Σ αᵢ·dᵢ.
        batch_size: examples per forward pass; it affects the bits of the result.
        check: called with the model, each split and the batch size; raises if the data do not fit.
        recalibrate: examples from which BatchNorm's running statistics are estimated at every point; None leaves them
            unchanged.

    Raises:
        InputError: the network or objective cannot be used; the message gives the reason.
    """
    device = torch.device(device)
    # In fp32 cuDNN is fast with images as (channels, height, width), in lower precisions as (height, width, channels).
    # Measured: results/bench/gpu.
    layout = torch.preserve_format
    if device.type == "cuda":
        layout, space = torch.contiguous_format, replace(space, channels_last=False)
    with ExitStack() as stack:
        theta = space.flattened(tensors_of(model, space), dtype).to(device)
        stack.enter_context(restored(model))
        model.to(device=device, dtype=dtype)
        flat = theta.clone()
        for tensor, view in zip(tensors_of(model, space), space.views(flat), strict=True):
            tensor.data = view
        resident = {name: examples.to(device) for name, examples in splits.items()}
        axes = [space.flattened(direction, dtype).to(device) for direction in directions]
        own = {name: Cast(examples, dtype, layout) for name, examples in resident.items()}
        if check is not None:
            with torch.no_grad():
                for examples in own.values():
                    check(model, examples, batch_size)
        settle = None
        if recalibrate is not None:
            settle = Recalibration(Cast(recalibrate.to(device), dtype, layout), objective)
        yield ExactEvaluator(FlatNetwork(model, own, objective, space, theta, axes, flat, settle), batch_size)


def is_plausible(values: np.ndarray) -> np.ndarray:
    """(rows,) from (rows, metrics): whether all values are finite and of plausible size."""
    plausible: np.ndarray = (np.abs(values) < _LARGEST).all(axis=1)
    return plausible


def _running_variances(model: nn.Module) -> list[torch.Tensor]:
    return [b for name, b in model.named_buffers() if name.rpartition(".")[2] == "running_var"]


def _weighted(name: str, measured: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    pair = isinstance(measured, (tuple, list)) and len(measured) == 2
    values, weight = measured if pair else (measured, None)
    if weight is not None and _shape(weight) != _shape(values):
        raise InputError(
            f"objective: {name!r} has values of shape {_shape(values)} but weights of {_shape(weight)}",
            key=name,
        )
    return values, weight


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__


def _checked_names(measured: Any) -> tuple[str, ...]:
    if not isinstance(measured, Mapping) or "loss" not in measured:
        raise InputError(
            'an objective must return a mapping of names to (values, weights) with "loss" among them'
        )
    for name, value in measured.items():
        values, _ = _weighted(name, value)
        if not isinstance(values, torch.Tensor) or values.dim() != 1:
            raise InputError(
                f"metric {name!r} must give one value per example, shape (B,); got {_shape(values)}", key=name
            )
    return tuple(measured)
