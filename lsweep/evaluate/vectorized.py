"""Evaluator of several points at once, for networks limited by kernel launch overhead.

`torch.func.vmap` over the weights turns K small matrix products into one batched product; perceptrons
use a shorter path (`mlp`). K affects the bits of the result: a tile is always evaluated whole, however many of its
points are pending.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, vmap

from lsweep.errors import InputError
from lsweep.evaluate.exact import ExactEvaluator
from lsweep.evaluate.flat_parameters import FlatNetwork
from lsweep.evaluate.interface import Evaluation
from lsweep.evaluate.mlp import Perceptron, Product, cross_entropy_and_accuracy, perceptron
from lsweep.evaluate.objective import Supervised, cross_entropy

# Most numbers of a split's first-layer outputs that are cached, per vector (θ* and each direction).
MOST_KNOWN = 1 << 22
# Numbers in the widest layer over all points and examples of a batch: enough to hide the kernel launch overhead, and
# few enough for the caches of a CPU; the value for GPUs has not been measured.
BATCH_NUMBERS = {"cpu": 1 << 21, "mps": 1 << 23, "cuda": 1 << 25}
# The number of batches is a multiple of this, so that up to this many threads have equal work.
_SHARED_BY = 4

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
Measure = Callable[[Any], dict[str, torch.Tensor]]
Prepare = Callable[[Any], Any]


@contextmanager
def threaded_map() -> Iterator[Map]:
    """A `map` with as many threads as torch uses, each of which computes whole batches; results come in order.

    torch divides only large operations among threads; for small ones the overhead of a second thread exceeds its
    gain. A batch that one thread computes has the same bits for any number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield map if threads == 1 else partial(_in_order, threads)
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "lsweep", torch.set_num_threads, (1,))


def _in_order(threads: int, work: Callable[[Any], Any], pieces: Iterable[Any]) -> list[Any]:
    # Few pieces at a time: batches may be generated lazily.
    found, running = [], deque[Future[Any]]()
    try:
        for piece in pieces:
            if len(running) == 2 * threads:
                found.append(running.popleft().result())
            running.append(_pool(threads).submit(torch.no_grad()(work), piece))
        return found + [future.result() for future in running]
    finally:  # after an error nothing may keep running: smaller batches are tried next
        wait(running)


class VectorizedEvaluator(ExactEvaluator):
    """Evaluates all points of a tile together. For a `Supervised` objective; only parameters may move."""

    whole_tiles = True

    def __init__(self, net: FlatNetwork, batch_size: int) -> None:
        super().__init__(net, batch_size)
        self._known: dict[tuple[str, int], list[Any]] = {}
        inputs = next(next(iter(net.splits.values())).batches(1))[0]
        self._perceptron = perceptron(net, inputs)
        self._width = _width(self._perceptron, inputs)
        # Batches of a perceptron are computed in several threads. `functional_call` would swap weights of the one
        # shared module, and a user's function need not be thread-safe.
        own = isinstance(net.objective, Supervised) and net.objective.is_own
        self._threaded = self._perceptron is not None and own and self._flat.device.type == "cpu"

    def examples_a_batch(self, points: int, examples: int) -> int:
        """The number of examples per batch for this many points and examples; the same on all ranks."""
        most = max(1, BATCH_NUMBERS[self._flat.device.type] // (points * self._width))
        batches = -(-examples // most)
        # Batches of equal size, and a number of them that several threads can share.
        batches = batches if batches == 1 else -(-batches // _SHARED_BY) * _SHARED_BY
        return -(-examples // batches)

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first; see `Evaluator`."""
        start = time.perf_counter()
        with torch.no_grad(), threaded_map() if self._threaded else nullcontext(map) as each:
            values = self._in_memory(lambda: self._together(coordinates, each)).cpu().numpy()
        count = len(coordinates)
        seconds = np.full(count, (time.perf_counter() - start) / max(1, count))
        return Evaluation(values, seconds, {"batch_size": np.full(count, self.batch_size, dtype=np.int32)})

    def _together(self, coordinates: np.ndarray, each: Map) -> torch.Tensor:
        """(k, metrics), float64; `each` is a `map`."""
        at = torch.from_numpy(coordinates)
        if self._perceptron is not None:
            run = self._perceptron.at(self.net, at.to(self._flat))
            measure: Measure = partial(_measure_perceptron, self.net.objective, run, len(at))
        else:
            measure = partial(_measure, self.net, self._weights(at), len(at))
        means = []
        for split, names in self._metrics.items():
            batches, prepare = self._batches(split, each)
            sums_of = partial(self._sums_of, names, len(at), measure, prepare)
            sums = list(each(sums_of, batches))
            examples = sum(count for count, _ in sums)
            means.append(torch.stack([total for _, total in sums]).sum(dim=0) / examples)
        return torch.cat(means, dim=1)

    def _sums_of(
        self, names: Sequence[str], points: int, measure: Measure, prepare: Prepare, batch: Any
    ) -> tuple[int, torch.Tensor]:
        """The number of examples of a batch, and the sums over them: (k, metrics), float64."""
        measured = measure(prepare(batch))
        double = torch.float64 if self._flat.device.type != "mps" else torch.float32
        sums = [measured[name].reshape(points, -1).to(double).sum(dim=1) for name in names]
        return len(batch[1]), torch.stack(sums, dim=1)

    def _batches(self, split: str, each: Map) -> tuple[Iterable[Any], Prepare]:
        """A split's batches, and a function to apply to each before it is measured.

        The first-layer outputs of a perceptron are cached if they are small.
        """
        network, key = self._perceptron, (split, self.batch_size)
        batches: Iterable[Any] = self._splits[split].batches(self.batch_size)
        if network is None:
            return batches, _as_it_is
        if key in self._known:
            return self._known[key], _as_it_is
        prepare = partial(_with_basis, network, self.net)
        examples = sum(len(target) for _, target in self._splits[split].batches(self.batch_size))
        if examples * network.first.weight.shape[0] > MOST_KNOWN:
            return batches, prepare
        # Drop batches of other sizes: the size was halved for lack of memory, or was a trial.
        self._known = {known: bases for known, bases in self._known.items() if known[1] == self.batch_size}
        self._known[key] = list(each(prepare, batches))
        return self._known[key], _as_it_is

    def _weights(self, coordinates: torch.Tensor) -> dict[str, torch.Tensor]:
        """Every moving tensor at every point: name → (k, *shape)."""
        net, count = self.net, len(coordinates)
        moved = net.theta.expand(count, -1)
        for column, direction in zip(coordinates.T, net.directions, strict=True):
            moved = torch.addcmul(moved, column.to(moved)[:, None], direction)
        weights = {}
        for entry in net.space.entries:
            piece = moved[:, entry.offset : entry.offset + entry.numel]
            weights[entry.name] = net.space.view(piece, entry)
        return weights


def _width(network: Perceptron | None, inputs: Any) -> int:
    """The width of the network's widest layer per example, or an estimate."""
    if network is not None:
        products = [network.first, *(step for step in network.others if isinstance(step, Product))]
        return max(64, *(product.weight.shape[0] for product in products))
    if isinstance(inputs, torch.Tensor) and inputs.is_floating_point():
        return max(64, inputs[0].numel())
    return 1 << 12  # tokens, for example, whose embeddings are larger


def vectorize(evaluator: ExactEvaluator) -> VectorizedEvaluator:
    """An evaluator of several points at once over the network that `evaluator` borrowed.

    Raises:
        InputError: the objective, space or network does not allow it, or the values differ.
    """
    net = evaluator.net
    if not isinstance(net.objective, Supervised):
        raise _refused("the objective is the user's own")
    if any(entry.is_buffer for entry in net.space.entries):
        raise _refused("running statistics move")
    joint = VectorizedEvaluator(net, evaluator.batch_size)
    centre = np.zeros((2, len(net.directions)))
    try:
        together = joint.evaluate(centre).values
    except RuntimeError as error:  # what vmap cannot batch: data-dependent control flow, in-place writes, …
        raise _refused((str(error).splitlines() or [""])[0]) from None
    if not np.allclose(together, evaluator.evaluate(centre).values, rtol=1e-4, equal_nan=True):
        raise _refused("the values differ from those of single points")
    return joint


def _refused(reason: str) -> InputError:
    return InputError(
        f"several points at once cannot be evaluated here ({reason}); set evaluate.points_at_once = 1",
        key="evaluate.points_at_once",
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _with_basis(network: Perceptron, net: FlatNetwork, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The first-layer outputs of a batch, and its target."""
    inputs, target = batch
    return network.basis(net, inputs), target


def _measure(
    net: FlatNetwork, weights: dict[str, torch.Tensor], count: int, batch: Any
) -> dict[str, torch.Tensor]:
    """The objective's values (count · B,), as if the points were examples."""
    inputs, target = batch
    output = vmap(lambda own: functional_call(net.model, own, (inputs,)))(weights)
    return _values(net.objective, output.flatten(0, 1), target.expand(count, *target.shape).flatten(0, 1))


def _measure_perceptron(
    objective: Any, run: Callable[[torch.Tensor], torch.Tensor], count: int, batch: Any
) -> dict[str, torch.Tensor]:
    """The values of a perceptron, (count · B,); see `_measure`."""
    basis, target = batch
    output = run(basis)
    assert isinstance(objective, Supervised)
    if objective.loss is cross_entropy and not objective.metrics and not target.is_floating_point():
        loss, right = cross_entropy_and_accuracy(output, target)
        return {"loss": loss, "accuracy": right}
    rows = output.transpose(1, 2).reshape(-1, output.shape[1])
    return _values(objective, rows, target.expand(count, *target.shape).flatten(0, 1))


def _values(objective: Any, output: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: values for name, (values, _) in objective.measure(output, target).items()}
