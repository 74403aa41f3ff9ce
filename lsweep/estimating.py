"""Points as exactly as they need to be: in a lower precision, or from some of the examples, with the error stored.

Both savings, alone or together. The loss decides; what else is measured comes along.

- Lower precision (`lsweep.precision`): the examples cheaply, a small sample of them in fp32 too.
- Subset (`lsweep.subset`): examples in one fixed order, in growing prefixes, until the interval is narrow enough.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lsweep import precision
from lsweep.errors import InputError
from lsweep.evaluation import Evaluation
from lsweep.evaluator import Lent, LossEvaluator
from lsweep.intervals import Estimate
from lsweep.lowprecision import LowPrecision
from lsweep.objective import Supervised
from lsweep.precision import Precision
from lsweep.subset import Design, Stop, Subset, Tolerance, design


@dataclass(frozen=True)
class Accuracy:
    """How exactly a point must be known.

    Attributes:
        kind: the precision to try first; FP32 or FP64 is the borrowed network's own.
        tolerance: what the lower precision may add to the loss's error, relative.
        subset: how narrow the loss's interval must be; None takes all examples.
        scale: what an example may lose that is unlike all seen; see `Subset`.
        least: the fewest examples of a subset.
        seed: of the examples' order.
    """

    kind: Precision = Precision.FP32
    tolerance: float = 0.01
    subset: Tolerance | None = None
    scale: float = 0.0
    least: int = 100
    seed: int = 0

    @property
    def is_low(self) -> bool:
        """Whether a lower precision is tried."""
        return self.kind not in (Precision.FP32, Precision.FP64)


class EstimatingEvaluator(LossEvaluator):
    """Evaluates a `Supervised` objective as exactly as `accuracy` asks, point by point.

    Args:
        lent: the network, in fp32 or fp64.
        batch_size: examples per forward pass.
        accuracy: what is asked.

    Attributes:
        columns: also "precision", what a point was computed in (`Precision`), and "examples", how many were used.
        designs: split → the order of its examples.

    Raises:
        InputError: the objective or the data do not allow it.
    """

    def __init__(self, lent: Lent, batch_size: int, accuracy: Accuracy) -> None:
        super().__init__(lent, batch_size)
        if not isinstance(lent.objective, Supervised):
            raise _refused("the objective is the user's own")
        if not all(split.can_select for split in lent.splits.values()):
            raise _refused("the data come in batches that cannot be cut anew")
        self._accuracy = accuracy
        self._own = Precision.FP64 if lent.flat.dtype == torch.float64 else Precision.FP32
        self._low = LowPrecision(lent, accuracy.kind) if accuracy.is_low else None
        self.designs: Mapping[str, Design] = {
            name: _design(split, accuracy) for name, split in lent.splits.items()
        }
        self.columns = {**self.columns, "precision": ("u1", 0), "examples": ("<i4", 0)}
        self.names = (*self.names, *self._error_names())

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first; see `Evaluator`."""
        rows: list[np.ndarray] = []
        marks = [time.perf_counter()]
        columns: dict[str, list[int]] = {name: [] for name in self.columns}
        with torch.no_grad():
            for point in coordinates:
                self.lent.move(point)
                if self._low is not None:
                    self._low.follow()
                found = self._in_memory(lambda: {split: self._split(split) for split in self._splits})
                rows.append(self._row(found))
                columns["batch_size"].append(self.batch_size)
                columns["precision"].append(max(part.kind for part in found.values()))
                columns["examples"].append(next(iter(found.values())).examples)
                marks.append(time.perf_counter())
        arrays = {name: np.array(values, dtype=self.columns[name][0]) for name, values in columns.items()}
        return Evaluation(np.array(rows).reshape(len(rows), len(self.names)), np.diff(marks), arrays)

    def values(self, split: str, start: int, stop: int, *, low: bool = False) -> np.ndarray:
        """(stop − start, metrics) float64 of the examples at those places in the order, where the network is now."""
        order = torch.from_numpy(self.designs[split].strata.order[start:stop])
        network: Any = self._low if low else self.lent.model
        objective: Any = self.lent.objective
        parts = []
        for inputs, target in self._splits[split].select(order, self.batch_size):
            measured = objective.measure(network(inputs), target)
            parts.append(torch.stack([measured[n][0].to(torch.float64) for n in self._metrics[split]], dim=1))
        return torch.cat(parts).cpu().numpy() if parts else np.empty((0, len(self._metrics[split])))

    def _split(self, split: str) -> _Found:
        rule = _Rule(self._metrics[split], self.designs[split], self._accuracy)
        exact = _Growing(lambda start, stop: self.values(split, start, stop))
        if self._low is not None and rule.samples(len(rule.design)):
            cheap = _Growing(lambda start, stop: self.values(split, start, stop, low=True))
            found = rule.in_low_precision(cheap, exact)
            if found is not None:
                return found
        return rule.in_full(exact, self._own)

    def _row(self, found: Mapping[str, _Found]) -> np.ndarray:
        means = [part.means for part in found.values()]
        errors = [part.errors[: _with_error(self._metrics[split])] for split, part in found.items()]
        return np.concatenate([*means, *errors])

    def _error_names(self) -> list[str]:
        return [
            self._column(split, f"{name}_stderr")
            for split in self._splits
            for name in self._metrics[split][: _with_error(self._metrics[split])]
        ]


@dataclass(frozen=True)
class _Found:
    """What a split came to at a point; means and standard errors are (metrics,)."""

    means: np.ndarray
    errors: np.ndarray
    kind: Precision
    examples: int


class _Growing:
    """Values of the first examples of a design, (n, metrics), evaluated as they are asked for, and each once."""

    def __init__(self, evaluate: Any) -> None:
        self._evaluate = evaluate
        self._known = evaluate(0, 0)

    def first(self, count: int) -> np.ndarray:
        if count > len(self._known):
            self._known = np.concatenate([self._known, self._evaluate(len(self._known), count)])
        known: np.ndarray = self._known[:count]
        return known


class _Rule:
    """When a point of one split is known well enough."""

    def __init__(self, names: tuple[str, ...], order: Design, accuracy: Accuracy) -> None:
        self.names, self.design, self._accuracy = names, order, accuracy
        self._subset = Subset(order, accuracy.subset, accuracy.scale) if accuracy.subset else None

    def samples(self, examples: int) -> tuple[int, ...]:
        """Sizes of the samples that correct so many cheap values."""
        return precision.samples(examples, self.design.looks[0])

    def in_full(self, exact: _Growing, kind: Precision) -> _Found:
        """From exact values alone."""
        stop = self._stop(exact)
        found = self._estimates(exact.first(stop.examples), stop)
        return self._found(found, np.zeros(len(found)), np.zeros(len(found)), kind, stop.examples)

    def in_low_precision(self, cheap: _Growing, exact: _Growing) -> _Found | None:
        """From cheap values and a sample of exact ones; None if that is not good enough here."""
        tolerance = self._accuracy.tolerance
        if self._subset is None:
            least = self.samples(len(self.design))[0]
        else:
            least = self.design.looks[0]
            if self._subset.following(0, exact.first(least)[:, 0]) < 2 * least:
                return None  # hardly more than the sample, which is there
        if precision.hopeless(cheap.first(least), exact.first(least), self.design, tolerance):
            return None
        stop = self._stop(cheap)
        found = self._estimates(cheap.first(stop.examples), stop)
        if not np.isfinite(found[0].mean):
            return None
        for size in self.samples(stop.examples):
            corrected = precision.correction(cheap.first(stop.examples), exact.first(size), self.design)
            mean = abs(found[0].mean + float(corrected.shifts[0]))
            if corrected.half_width <= tolerance * mean:
                return self._found(
                    found, corrected.shifts, corrected.errors, self._accuracy.kind, stop.examples
                )
            if precision.hopeless(cheap.first(size), exact.first(size), self.design, tolerance):
                return None
        return None

    def _stop(self, known: _Growing) -> Stop:
        if self._subset is None:
            return Stop(len(self.design), None)
        return self._subset.search(lambda examples: known.first(examples)[:, 0])

    def _estimates(self, values: np.ndarray, stop: Stop) -> list[Estimate]:
        if self._subset is None:
            return [
                Estimate(mean := float(column.mean()), 0.0, mean, mean, len(column)) for column in values.T
            ]
        of = {"loss": self._subset.loss, "accuracy": self._subset.fraction}
        return [
            of.get(name, self._subset.mean)(column, stop.level)
            for name, column in zip(self.names, values.T, strict=True)
        ]

    def _found(
        self,
        estimates: list[Estimate],
        shifts: np.ndarray,
        errors: np.ndarray,
        kind: Precision,
        examples: int,
    ) -> _Found:
        means = np.array([estimate.mean for estimate in estimates]) + shifts
        accurate = [name == "accuracy" for name in self.names]
        means[accurate] = means[accurate].clip(0.0, 1.0)
        both = np.hypot([estimate.standard_error for estimate in estimates], errors)
        return _Found(means, both, kind, examples)


def _with_error(names: tuple[str, ...]) -> int:
    """How many of a split's metrics have a column for their standard error: loss, accuracy."""
    return 2 if names[1:2] == ("accuracy",) else 1


def _design(split: Any, accuracy: Accuracy) -> Design:
    # Without a subset the first look is only where the first sample of a lower precision ends.
    least = accuracy.least if accuracy.subset is not None else precision.LEAST
    return design(split.tree[1].cpu().numpy(), seed=accuracy.seed, least=least)


def _refused(reason: str) -> InputError:
    return InputError(
        f"neither a lower precision nor a subset of the examples can be used here: {reason}; set "
        'evaluate.precision = "fp32" and no evaluate.relative_error',
        key="evaluate.precision",
    )
