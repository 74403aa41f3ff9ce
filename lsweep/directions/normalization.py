"""Normalisation of directions, by filter, layer or weight ([Li18] §4 and the modes of its released code)."""

from __future__ import annotations

import torch

from lsweep.models.parameters import Entry, WeightSpace

# [Li18]'s released code adds this to norms; the same value reproduces its directions bit for bit.
EPSILON = 1e-10

Tensors = list[torch.Tensor]


def normalize(direction: Tensors, theta: Tensors, space: WeightSpace, mode: str, bias_bn: str) -> Tensors:
    """Normalise a random direction ([Li18] §4 and the modes of its released code).

    Tensors with at least two dimensions follow `mode`: "filter" gives each filter of d the norm of its
    filter of w, "layer" each tensor, "weight" multiplies by w, "dfilter" and "dlayer" make unit norms,
    "none" leaves d. A filter of zero norm in w stays zero. Tensors with fewer dimensions (biases,
    BatchNorm) follow `bias_bn`: "zero", "copy" (d ← w) or "random" (as drawn).
    """
    return [
        normalize_tensor(d, w, entry, mode, bias_bn)
        for d, w, entry in zip(direction, theta, space.entries, strict=True)
    ]


def normalize_tensor(d: torch.Tensor, w: torch.Tensor, entry: Entry, mode: str, bias_bn: str) -> torch.Tensor:
    """One tensor of a direction, normalised by its tensor of weights; see `normalize`."""
    if d.dim() <= 1:
        return _normalize_small(d, w, bias_bn)
    return _normalize(d, w, entry.filter_axis, mode)


def _normalize_small(d: torch.Tensor, w: torch.Tensor, bias_bn: str) -> torch.Tensor:
    if bias_bn == "zero":
        return torch.zeros_like(d)
    return w.detach().float().clone() if bias_bn == "copy" else d


def _normalize(d: torch.Tensor, w: torch.Tensor, axis: int, mode: str) -> torch.Tensor:
    w = w.detach().float()
    if mode == "none":
        return d
    if mode == "weight":
        return d * w
    if mode == "layer":
        return d * (w.norm() / d.norm())
    if mode == "dlayer":
        return d / d.norm()
    # One norm call per filter: a norm over rows sums in another order and differs in the last bit
    # from the released code's directions, which `seed` promises to reproduce.
    result = torch.empty_like(d)
    for out, dk, wk in zip(result.unbind(axis), d.unbind(axis), w.unbind(axis), strict=True):
        out.copy_(
            dk / (dk.norm() + EPSILON) if mode == "dfilter" else dk * (wk.norm() / (dk.norm() + EPSILON))
        )
    return result
