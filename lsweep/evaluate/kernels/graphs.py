"""CUDA graphs: records the kernels of a batch once and replays them together.

A recording contains addresses, so batches are copied to the memory of the first one, and the network's weights change
in place, as always. A batch of full size on a GPU is replayed if it can be recorded and the first replays give the same
bits as the network itself; everything else runs directly. So recording never changes a result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

log = logging.getLogger("lsweep")

Measured = Mapping[str, Any]
Measure = Callable[[Any], Measured]
# From a function and its static input batch: a function that replays it, and its static output.
Capture = Callable[[Measure, Any], tuple[Callable[[], None], Measured]]

_WARM_UP = 3  # torch's documentation: libraries initialise in the first passes, which must not be recorded
_CHECKED = 2  # number of replays that are compared, of different batches, because a recording may contain its first one


@dataclass
class _Recording:
    form: tuple[Any, ...]
    batch: Any
    replay: Callable[[], None]
    output: Measured
    unchecked: int = _CHECKED


class Replay:
    """Measures batches like the given function, by replaying a recording if possible.

    The next call overwrites the returned values.

    Args:
        measure: maps a batch to named values; the weights that it reads keep their memory.
        capture: makes a recording.
    """

    def __init__(self, measure: Measure, capture: Capture) -> None:
        self._measure, self._capture = measure, capture
        self._recording: _Recording | None = None
        self._given_up = False

    def __call__(self, batch: Any, size: int) -> Measured:
        """Measure a batch; batches of `size` examples are recorded."""
        form = _form(batch, size)
        if self._recording is not None and len(pytree.tree_leaves(self._recording.batch)[0]) != size:
            self._recording = None  # batches were halved to save memory
        if self._given_up or form is None:
            return self._measure(batch)
        if self._recording is None or self._recording.form != form:
            self._recording = None  # before the next one: both need memory
            self._recording = self._record(batch, form)
            if self._recording is None:
                return self._measure(batch)
        return self._again(self._recording, batch)

    def _record(self, batch: Any, form: tuple[Any, ...]) -> _Recording | None:
        static = pytree.tree_map(torch.clone, batch)
        try:
            replay, output = self._capture(self._measure, static)
        except Exception as error:  # of torch or CUDA: control flow on values, reads by the host, memory
            self._give_up(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
            return None
        return _Recording(form, static, replay, output)

    def _again(self, recording: _Recording, batch: Any) -> Measured:
        pytree.tree_map(lambda there, here: there.copy_(here), recording.batch, batch)
        recording.replay()
        if recording.unchecked:
            recording.unchecked -= 1
            expected = self._measure(batch)
            if not _same(recording.output, expected):
                self._recording = None
                self._give_up("a replay gave different values from the network")
                return expected
        return recording.output

    def _give_up(self, reason: str) -> None:
        self._given_up = True
        log.info("CUDA graphs are not used: %s", reason)


def _form(batch: Any, size: int) -> tuple[Any, ...] | None:
    """A key that batches of one recording share; None if a batch cannot or should not be recorded."""
    leaves, spec = pytree.tree_flatten(batch)
    # Non-tensors may differ between batches, which a recording would miss.
    if not leaves or not all(isinstance(leaf, torch.Tensor) and leaf.dim() for leaf in leaves):
        return None
    if len(leaves[0]) != size or len({leaf.device for leaf in leaves}) > 1:
        return None
    return (spec, *((leaf.dtype, tuple(leaf.shape), leaf.stride()) for leaf in leaves))


def _same(one: Measured, other: Measured) -> bool:
    tensors, others = pytree.tree_leaves(dict(one)), pytree.tree_leaves(dict(other))
    return len(tensors) == len(others) and all(
        a is b or (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and _equal(a, b))
        for a, b in zip(tensors, others, strict=True)
    )


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(
        one.double(), other.double(), rtol=0, atol=0, equal_nan=True
    )


def cuda_capture(measure: Measure, batch: Any) -> tuple[Callable[[], None], Measured]:
    """Record the kernels that `measure` starts for a batch; see `Capture` and torch's documentation of CUDA graphs."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            measure(batch)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = measure(batch)
    return graph.replay, output
