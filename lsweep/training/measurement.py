"""Mean of an objective over a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lsweep.evaluate.flat_parameters import evaluation_mode
from lsweep.evaluate.objective import Objective


def weighted_sum(measured: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ weights·values and Σ weights of what an objective says of a batch: a tensor (B,), or one with weights."""
    values, weight = measured if isinstance(measured, (tuple, list)) else (measured, None)
    if weight is None:
        return values.sum(), values.new_tensor(float(len(values)))
    return (values * weight).sum(), weight.sum()


def measure(model: nn.Module, objective: Objective, batches: Iterable[Any]) -> dict[str, float]:
    """The means over all batches, in evaluation mode: name → Σ weights·values / Σ weights, summed in float64."""
    sums: dict[str, torch.Tensor] = {}
    totals: dict[str, torch.Tensor] = {}
    with evaluation_mode(model), torch.no_grad():
        for batch in batches:
            for name, measured in objective(model, batch).items():
                values, weight = measured if isinstance(measured, (tuple, list)) else (measured, None)
                total, weights = weighted_sum((values.double(), weight))
                sums[name] = sums[name] + total if name in sums else total
                totals[name] = totals[name] + weights if name in totals else weights
    return {name: float(sums[name] / totals[name]) for name in sums}
