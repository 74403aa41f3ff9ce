"""Points in a lower precision wherever it is good enough, point by point; in fp32 elsewhere."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from lsweep import precision
from lsweep.errors import InputError
from lsweep.evaluation import Column, Evaluation
from lsweep.evaluator import Lent, LossEvaluator
from lsweep.objective import Supervised
from lsweep.precision import Precision
from lsweep.strata import Strata, stratify
from lsweep.weights import tensors_of

CHEAP = {"tf32": Precision.TF32, "bf16": Precision.BF16, "fp16": Precision.FP16}
_DTYPES = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


class CertifiedEvaluator(LossEvaluator):
    """Evaluates a `Supervised` objective cheaply, and again in fp32 where the error would exceed the tolerance.

    Args:
        lent: the network in fp32.
        batch_size: examples per forward pass.
        kind: the cheap precision.
        tolerance: of the loss, relative.
        seed: of the examples' order.

    Attributes:
        columns: "precision" says what a point was computed in, `Precision`.
    """

    def __init__(self, lent: Lent, batch_size: int, kind: Precision, tolerance: float, seed: int = 0) -> None:
        super().__init__(lent, batch_size)
        if not isinstance(lent.objective, Supervised):
            raise _refused(kind, "the objective is the user's own")
        if not all(split.can_select for split in lent.splits.values()):
            raise _refused(kind, "the data come in batches that cannot be cut anew")
        self._kind, self._tolerance = kind, tolerance
        self._cheap = _Cheap(lent, kind)
        self._strata = {name: _strata(split, seed) for name, split in lent.splits.items()}
        self.columns = {**self.columns, "precision": _column()}
        self._exact_names = self.names
        self.names = (*self.names, *self._error_names())

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first; see `Evaluator`."""
        rows, marks, sizes, kinds = [], [time.perf_counter()], [], []
        with torch.no_grad():
            for point in coordinates:
                self.lent.move(point)
                self._cheap.follow()
                found = {split: self._in_memory(lambda s=split: self._split(s)) for split in self._splits}  # type: ignore[misc]
                rows.append(self._row(found))
                kinds.append(max(kind for _, _, kind in found.values()))
                sizes.append(self.batch_size)
                marks.append(time.perf_counter())
        columns: dict[str, np.ndarray] = {
            "batch_size": np.array(sizes, dtype=np.int32),
            "precision": np.array(kinds, dtype=np.uint8),
        }
        return Evaluation(np.array(rows).reshape(len(rows), len(self.names)), np.diff(marks), columns)

    def _row(self, found: dict[str, tuple[np.ndarray, np.ndarray, Precision]]) -> np.ndarray:
        means = [means for means, _, _ in found.values()]
        errors = [errors[: self._with_error(split)] for split, (_, errors, _) in found.items()]
        return np.concatenate([*means, *errors])

    def _split(self, split: str) -> tuple[np.ndarray, np.ndarray, Precision]:
        """Means and standard errors (metrics,), and what they were computed in."""
        strata = self._strata[split]
        total, sizes = len(strata.order), precision.looks(len(strata.order))
        cheap = exact = np.empty((0, len(self._metrics[split])))
        complete = False
        for size in sizes:
            exact = np.concatenate([exact, self._values(split, len(exact), size)])
            if not complete:
                cheap = self._values(split, 0, size, cheap=True)
            if precision.hopeless(cheap[:size], exact, strata, self._tolerance, sizes[-1]):
                break
            if not complete:
                cheap = np.concatenate([cheap, self._values(split, size, total, cheap=True)])
                complete = True
            corrected = precision.correct(cheap, exact, strata)
            if corrected.within(self._tolerance):
                means = corrected.means
                means[self._is_accuracy(split)] = means[self._is_accuracy(split)].clip(0, 1)
                return means, corrected.errors, self._kind
        exact = np.concatenate([exact, self._values(split, len(exact), total)])
        return exact.mean(axis=0), np.zeros(exact.shape[1]), Precision.FP32

    def _values(self, split: str, start: int, stop: int, *, cheap: bool = False) -> np.ndarray:
        """(stop − start, metrics) float64, of the examples at those places in the order."""
        order = torch.from_numpy(self._strata[split].order[start:stop])
        network = self._cheap if cheap else self.lent.model
        parts = []
        for inputs, target in self._splits[split].select(order, self.batch_size):
            measured = self._objective.measure(network(inputs), target)  # type: ignore[attr-defined]
            parts.append(torch.stack([measured[n][0].to(torch.float64) for n in self._metrics[split]], dim=1))
        return torch.cat(parts).cpu().numpy()

    def _is_accuracy(self, split: str) -> list[bool]:
        return [name == "accuracy" for name in self._metrics[split]]

    def _with_error(self, split: str) -> int:
        """How many of a split's metrics have a column for their standard error: loss, accuracy."""
        return 2 if "accuracy" in self._metrics[split] else 1

    def _error_names(self) -> list[str]:
        return [
            self._column(split, f"{name}_stderr")
            for split in self._splits
            for name in self._metrics[split][: self._with_error(split)]
        ]


class _Cheap:
    """The same network at the same place, in a lower precision; outputs are float32."""

    def __init__(self, lent: Lent, kind: Precision) -> None:
        self._lent, self._kind = lent, kind
        self._model: nn.Module = lent.model
        if kind != Precision.TF32:
            self._dtype = _DTYPES[kind]
            self._model = copy.deepcopy(lent.model).to(self._dtype)
            self._flat = lent.flat.to(self._dtype)
            views = lent.space.views(self._flat)
            for tensor, view in zip(tensors_of(self._model, lent.space), views, strict=True):
                tensor.data = view

    def follow(self) -> None:
        """Go where the exact network is. Weights are combined in fp32 and rounded then."""
        if self._kind != Precision.TF32:
            self._flat.copy_(self._lent.flat)

    def __call__(self, inputs: Any) -> torch.Tensor:
        if self._kind != Precision.TF32:
            inputs = pytree.tree_map_only(torch.Tensor, self._cast, inputs)
        with _tf32() if self._kind == Precision.TF32 else nullcontext():
            output: torch.Tensor = self._model(inputs)
        return output.float()

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


@contextmanager
def _tf32() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def _strata(split: Any, seed: int) -> Strata:
    labels = split.tree[1].cpu().numpy()
    return stratify(labels if labels.ndim == 1 else np.zeros(len(labels)), precision.LEAST, seed)


def _column() -> Column:
    return "u1", int(Precision.UNKNOWN)


def _refused(kind: Precision, reason: str) -> InputError:
    return InputError(
        f'evaluate.precision = "{kind.name.lower()}" cannot be certified here: {reason}; set "fp32"',
        key="evaluate.precision",
    )
