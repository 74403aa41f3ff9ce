"""Sentences on how the directions were constructed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from lsweep.describe.facts import get
from lsweep.describe.style import Style, conjunction

NORMALIZED = {
    "filter": "with each filter scaled to the norm of the corresponding filter of the weights",
    "layer": "with each tensor scaled to the norm of the corresponding tensor of the weights",
    "weight": "with each entry multiplied by the corresponding weight",
    "dfilter": "with each filter scaled to unit norm",
    "dlayer": "with each tensor scaled to unit norm",
    "none": "without normalisation",
}
BIAS_BN = {
    "zero": "set to zero",
    "copy": "copied from the weights",
    "random": "drawn in the same way but not normalised",
}
INDICES = {"x": 1, "y": 2, "z": 3}

Facts = Mapping[str, Any]


def directions(known: Facts, style: Style) -> str:
    """How each direction was constructed; directions with the same recipe share a sentence."""
    table = get(known, dict, "directions") or {}
    kinds = {axis: kind for axis in table if (kind := get(table, str, axis, "kind"))}
    sentences = []
    for kind in dict.fromkeys(kinds.values()):
        axes = [axis for axis in kinds if kinds[axis] == kind]
        say = KINDS.get(kind)
        if say is None:
            continue
        groups: dict[str, list[str]] = {}
        for axis in axes:
            groups.setdefault(say(table[axis], axis, style), []).append(axis)
        sentences += [f"{_names(group, style)} {text}." for text, group in groups.items()]
    if get(next(iter(table.values()), {}), str, "space") == "states":
        sentences.append("The BatchNorm running statistics were displaced together with the parameters.")
    digests = [f"{_name(a, style)} {style.hash(d)}" for a in table if (d := get(table, str, a, "sha256"))]
    hashes = f" (SHA-256: {', '.join(digests)})" if digests and sentences else ""
    if hashes:
        sentences[-1] = sentences[-1].removesuffix(".") + f"{hashes}."
    return " ".join(sentences)


def _random(recipe: Facts, axis: str, style: Style) -> str:
    seed = get(recipe, int, "seed")
    drawn = f"drawn from a standard normal distribution{f' (seed {seed})' if seed is not None else ''}"
    return f"was {drawn}{_normalized(recipe, style)}"


def _hessian(recipe: Facts, axis: str, style: Style) -> str:
    number = get(recipe, int, "eigenvector") or INDICES[axis]
    order = f"eigenvalue number {abs(number)} in {'descending' if number > 0 else 'ascending'} order"
    return f"is the eigenvector of the Hessian at {centre(style)} for {order}{_normalized(recipe, style)}"


def _interpolate(recipe: Facts, axis: str, style: Style) -> str:
    to = get(recipe, str, "to")
    target = f"the solution {style.code(PurePath(to).name)}" if to else "another solution"
    return f"points from {centre(style)} to {target}, which lies at coordinate 1{_chosen(recipe, style)}"


def _pca(recipe: Facts, axis: str, style: Style) -> str:
    return f"is a principal axis of the training checkpoints{_chosen(recipe, style)}"


def _file(recipe: Facts, axis: str, style: Style) -> str:
    path = get(recipe, str, "path")
    return f"was read from {style.code(PurePath(path).name)}" if path else "was read from a file"


def _explicit(recipe: Facts, axis: str, style: Style) -> str:
    return "was supplied as tensors"


KINDS: dict[str, Callable[[Facts, str, Style], str]] = {
    "random": _random,
    "hessian": _hessian,
    "interpolate": _interpolate,
    "pca": _pca,
    "file": _file,
    "explicit": _explicit,
}


def _normalized(recipe: Facts, style: Style) -> str:
    mode, small = get(recipe, str, "normalize"), get(recipe, str, "bias_bn")
    text = f", {NORMALIZED[mode]}" if mode in NORMALIZED else ""
    if small in BIAS_BN:
        text += f"; its entries for biases and BatchNorm parameters were {BIAS_BN[small]}"
    return text + _chosen(recipe, style)


def _chosen(recipe: Facts, style: Style) -> str:
    text = ""
    for key, start, end in (("include", "only the", "varied"), ("exclude", "the", "held fixed")):
        patterns = [style.code(p) for p in get(recipe, list, key) or [] if isinstance(p, str)]
        text += f"; {start} parameters {conjunction(patterns)} were {end}" if patterns else ""
    return text


def centre(style: Style) -> str:
    """The trained weights."""
    return style.formula("θ*", r"\theta^*")


def _name(axis: str, style: Style) -> str:
    index = INDICES[axis]
    return style.formula(f"d{'₁₂₃'[index - 1]}", f"d_{index}")


def _names(axes: Sequence[str], style: Style) -> str:
    start = "Each of the directions " if len(axes) > 1 else "The direction "
    return start + conjunction([_name(axis, style) for axis in axes])
