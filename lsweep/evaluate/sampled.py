"""Evaluator with an error budget: lower precision or a subset of the examples, with the estimated error stored.

Three methods, alone or together. The interval of the loss decides when to stop (`sampling.stopping`); other metrics use
the same examples.

- Lower precision (`sampling.control_variate`): all examples in lower precision, and a small sample also in fp32.
- Subset (`sampling.design`): examples in one fixed order, in growing prefixes, until the interval is narrow enough.
- Neighbours (`sampling.importance`): few examples, drawn by their losses as predicted from neighbouring points.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from lsweep.errors import InputError
from lsweep.evaluate.exact import ExactEvaluator, is_plausible
from lsweep.evaluate.flat_parameters import FlatNetwork
from lsweep.evaluate.interface import Evaluation
from lsweep.evaluate.kernels.graphs import Capture, Replay
from lsweep.evaluate.low_precision import LowPrecision
from lsweep.evaluate.objective import Supervised
from lsweep.evaluate.sampling import control_variate
from lsweep.evaluate.sampling.design import Design, design
from lsweep.evaluate.sampling.example_losses import MeasuredLosses, Neighbours
from lsweep.evaluate.sampling.stopping import ErrorBudget, ExampleValues, SplitEstimate, StoppingRule
from lsweep.surface import Precision


class SampledEvaluator(ExactEvaluator):
    """Evaluates a `Supervised` objective within the error budget, point by point.

    Args:
        net: the network, in fp32 or fp64.
        batch_size: examples per forward pass.
        accuracy: the required accuracy.

    Attributes:
        columns: also "precision", the precision of a point (`Precision`), and "examples", the number used.
        designs: split → the order of its examples.
        neighbours: per-example losses of other points, to predict those of a point; None if unused.

    Raises:
        InputError: the objective or the data do not allow it.
    """

    def __init__(self, net: FlatNetwork, batch_size: int, accuracy: ErrorBudget) -> None:
        super().__init__(net, batch_size)
        if not isinstance(net.objective, Supervised):
            raise _refused("the objective is the user's own")
        if not all(split.can_select for split in net.splits.values()):
            raise _refused("the data are fixed batches, from which single examples cannot be drawn")
        self._accuracy = accuracy
        self._own = Precision.FP64 if net.flat.dtype == torch.float64 else Precision.FP32
        self._low = LowPrecision(net, accuracy.kind) if accuracy.is_low else None
        self.designs: Mapping[str, Design] = {
            name: _design(split, accuracy) for name, split in net.splits.items()
        }
        self.neighbours: Neighbours | None = None
        self.columns = {**self.columns, "precision": ("u1", 0), "examples": ("<i4", 0)}
        self.names = (*self.names, *self._error_names())

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first; see `Evaluator`."""
        rows: list[np.ndarray] = []
        marks = [time.perf_counter()]
        columns: dict[str, list[int]] = {name: [] for name in self.columns}
        with torch.no_grad():
            for point in coordinates:
                self.net.move(point)
                if self._low is not None:
                    self._low.follow()
                place = None if self.neighbours is None else self.neighbours.point(point)
                found = self._in_memory(partial(self._splits_at, place))
                rows.append(self._row(found))
                columns["batch_size"].append(self.batch_size)
                columns["precision"].append(max(part.kind for part in found.values()))
                columns["examples"].append(next(iter(found.values())).examples)
                marks.append(time.perf_counter())
        arrays = {name: np.array(values, dtype=self.columns[name][0]) for name, values in columns.items()}
        return Evaluation(np.array(rows).reshape(len(rows), len(self.names)), np.diff(marks), arrays)

    def _splits_at(self, point: int | None) -> dict[str, SplitEstimate]:
        return {split: self._split(split, point) for split in self._splits}

    def values(self, split: str, start: int, stop: int, *, low: bool = False) -> np.ndarray:
        """(stop − start, metrics) float64 of the examples at those positions of the order, at the current weights."""
        return self._values(split, self.designs[split].strata.order[start:stop], low)

    def _values(self, split: str, examples: np.ndarray, low: bool = False) -> np.ndarray:
        measure = self._measure_low if low else self._measure
        parts = []
        for batch in self._splits[split].select(torch.from_numpy(examples), self.batch_size):
            measured = measure(batch)
            parts.append(torch.stack([measured[n][0].to(torch.float64) for n in self._metrics[split]], dim=1))
        found = torch.cat(parts).cpu().numpy() if parts else np.empty((0, len(self._metrics[split])))
        if low or not self.is_fused or is_plausible(found).all():
            return found
        with self.in_steps():
            return self._values(split, examples)

    def capture(self, recorder: Capture | None) -> None:
        """See `ExactEvaluator`; the lower precision has separate recordings."""
        super().capture(recorder)
        self._replay_low: Replay | None = None

    def _measure_low(self, batch: Any) -> Mapping[str, Any]:
        # A function of parts instead of a method: a recording must not keep its evaluator and its memory alive.
        measure = partial(self.net.objective, cast(nn.Module, self._low))
        if self._recorder is None:
            return measure(batch)
        if self._replay_low is None:
            self._replay_low = Replay(measure, self._recorder)
        return self._replay_low(batch, self.batch_size)

    def _split(self, split: str, point: int | None) -> SplitEstimate:
        names, order = self._metrics[split], self.designs[split].strata.order
        rule = StoppingRule(names, self.designs[split], self._accuracy, self._own)
        exact = ExampleValues(lambda examples: self._values(split, examples), order, len(names))
        cheap = ExampleValues(lambda examples: self._values(split, examples, low=True), order, len(names))
        found = self._by_neighbours(split, point, rule, exact)
        if found is None:
            drawn = int(exact.seen.sum())  # in vain
            found = self._alone(rule, exact, cheap)
            if drawn:
                found = replace(found, examples=int((exact.seen | cheap.seen).sum()))
        if point is not None and self.neighbours is not None:
            self.neighbours.record(point, split, _measured(exact, cheap))
        return found

    def _by_neighbours(
        self, split: str, point: int | None, rule: StoppingRule, exact: ExampleValues
    ) -> SplitEstimate | None:
        if point is None or self.neighbours is None:
            return None
        prediction = self.neighbours.predict(split, point)
        if prediction is None:
            return None
        return rule.by_prediction(prediction, self.neighbours.numbers(split, point), exact)

    def _alone(self, rule: StoppingRule, exact: ExampleValues, cheap: ExampleValues) -> SplitEstimate:
        if self._low is not None and rule.samples(len(rule.design)):
            found = rule.in_low_precision(cheap, exact)
            if found is not None:
                return found
        return rule.in_full(exact)

    def _row(self, found: Mapping[str, SplitEstimate]) -> np.ndarray:
        means = [part.means for part in found.values()]
        errors = [part.errors[: _with_error(self._metrics[split])] for split, part in found.items()]
        return np.concatenate([*means, *errors])

    def _error_names(self) -> list[str]:
        return [
            self._column(split, f"{name}_stderr")
            for split in self._splits
            for name in self._metrics[split][: _with_error(self._metrics[split])]
        ]


def _measured(exact: ExampleValues, cheap: ExampleValues) -> MeasuredLosses:
    examples = np.flatnonzero(exact.seen | cheap.seen)
    losses = np.empty(len(examples))
    for known in (cheap, exact):
        losses[known.seen[examples]] = known.at(np.flatnonzero(known.seen))[:, 0]
    return MeasuredLosses(examples.astype(np.int32), losses.astype(np.float32))


def _with_error(names: tuple[str, ...]) -> int:
    """The number of a split's metrics with a column for their standard error: loss, accuracy."""
    return 2 if names[1:2] == ("accuracy",) else 1


def _design(split: Any, accuracy: ErrorBudget) -> Design:
    # Without a subset the first look is at the end of the first sample of the lower precision.
    least = accuracy.least if accuracy.subset is not None else control_variate.LEAST
    return design(split.tree[1].cpu().numpy(), seed=accuracy.seed, least=least)


def _refused(reason: str) -> InputError:
    return InputError(
        f"neither a lower precision nor a subset of the examples can be used here: {reason}; set "
        'evaluate.precision = "fp32" and no evaluate.relative_error',
        key="evaluate.precision",
    )
