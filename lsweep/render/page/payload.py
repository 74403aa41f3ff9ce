"""Data of the interactive page: base64 of little-endian arrays, and JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsweep.errors import InputError, printable
from lsweep.grid import AXIS_NAMES
from lsweep.render.field import LETTERS, Field, extract, is_accuracy, network_names, place_of, wide_axes
from lsweep.render.levels import DECADES, EVERY, MOST_SHARED, SMALLEST, STEPS
from lsweep.render.look import Look
from lsweep.render.paths import drops_of, share_of
from lsweep.render.scale import LEVELS, LOG_RATIO, SHARED_LEVELS, colormap
from lsweep.surface import Surface

MAPS = ("viridis", "cividis", "magma")  # perceptually uniform; the first is the default of figures
NAMES = {"eig_min": "λmin", "eig_max": "λmax", "eig_ratio": "|λmin/λmax|"}
ERROR = "_stderr"


def payload(surfaces: Sequence[Surface], look: Look, titles: Sequence[str] | None = None) -> dict[str, Any]:
    """All data of the page, as JSON types.

    Args:
        surfaces: all lines or all planes (of a box one slice is used, see `look.LookOptions.index`).
        look: initial display options of the page.
        titles: one per surface; None uses the networks' names.

    Raises:
        InputError: there are no surfaces, lines and planes are mixed, or a surface lacks the metric.
    """
    if not surfaces:
        raise InputError("nothing to draw; give at least one surface", key="surfaces")
    if titles is not None and len(titles) != len(surfaces):
        raise InputError(
            f"expected one title for each of the {len(surfaces)} surfaces, got {len(titles)}", key="title"
        )
    dims = {min(wide_axes(surface), 2) for surface in surfaces}
    if len(dims) > 1:
        raise InputError("lines and planes cannot share a page; write two pages", key="html")
    names = titles or network_names(surfaces)
    sweeps = [_sweep(s, name, dims.copy().pop(), look) for s, name in zip(surfaces, names, strict=True)]
    order = dict.fromkeys(name for sweep in sweeps for name in sweep["values"])
    return {
        "kind": "line" if dims == {1} else "plane",
        "sweeps": sweeps,
        "quantities": [{"key": n, "name": label(n), "percent": is_accuracy(n)} for n in order],
        "maps": _maps(look.cmap),
        "rules": _rules(look),
        "start": _start(look),
    }


def label(metric: str) -> str:
    """A metric's name on the page: "loss_test" becomes "loss, test"."""
    head, _, split = metric.partition("_")
    known = head in ("loss", "accuracy") and split
    return NAMES.get(metric, f"{head}, {split.replace('_', ' ')}" if known else metric)


def errors_of(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Metric → metric with its standard error: "loss_test" → "loss_stderr_test"."""
    pairs = {name.replace(ERROR, "", 1): name for name in metrics if ERROR in name}
    return {name: error for name, error in pairs.items() if name in metrics}


def packed(values: np.ndarray, dtype: str) -> str:
    """The bytes of an array in C order, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")


def _sweep(surface: Surface, title: str, dims: int, look: Look) -> dict[str, Any]:
    """One sweep: axes, status, and for each quantity its values and, if known, their standard errors."""
    first = extract(surface, look.metric, dims, look.index)
    errors = errors_of(surface.metrics)
    shown = [
        n for n in surface.metrics if n not in errors.values() and (n == look.metric or _any(surface, n))
    ]
    fields = {name: extract(surface, name, dims, look.index) for name in shown}
    return {
        "title": printable(title),
        "file": printable(place_of(surface)),
        "notes": list(first.notes),
        "axes": [
            {"letter": LETTERS[name], "meaning": _meaning(surface, name), "at": packed(axis, "<f8")}
            for name, axis in zip(first.names, first.axes, strict=True)
        ],
        "status": packed(first.status, "u1"),
        "stride": first.stride(),
        "paths": _paths(surface, first.names) if dims == 2 else [],
        "values": {name: packed(field.values, "<f8") for name, field in fields.items()},
        "errors": {
            name: packed(_error(extract(surface, errors[name], dims, look.index)), "<f8")
            for name in fields
            if name in errors and _any(surface, errors[name])
        },
    }


def _meaning(surface: Surface, name: str) -> str:
    """Description of an axis: its direction and, with a training path, the share of the path along it."""
    column = AXIS_NAMES.index(name)
    direction = f"along d{'₁₂₃'[column]}"
    path = surface.trajectory
    if path is None:
        return direction
    component, share = share_of(path, column)
    return ", ".join(filter(None, [component or direction, share]))


def _paths(surface: Surface, names: Sequence[str]) -> list[dict[str, Any]]:
    """The trails in a file, projected onto the drawn axes, with the checkpoints before learning-rate drops."""
    path = surface.trajectory
    if path is None:
        return []
    found = []
    for index, name in enumerate(path.names):
        own = path.trails == index
        x, y = (path.coordinates[own, AXIS_NAMES.index(axis)] for axis in names)
        drops = drops_of(path.learning_rates[own])
        found.append({"name": printable(name), "x": packed(x, "<f8"), "y": packed(y, "<f8"), "drops": drops})
    return found


def _any(surface: Surface, metric: str) -> bool:
    return not bool(np.isnan(surface.metrics[metric]).all())


def _error(field: Field) -> np.ndarray:
    """Standard errors of evaluated points; that of an interpolated value is unknown."""
    return np.where(field.evaluated, field.values, np.nan)


def _maps(first: str | None) -> dict[str, str]:
    """Colour maps, 256 RGB triples of bytes each; the initial one comes first."""
    names = dict.fromkeys([first or MAPS[0], *MAPS])
    grades = np.linspace(0.0, 1.0, 256)
    return {name: packed(np.rint(colormap(name)(grades)[:, :3] * 255), "u1") for name in names}


def _rules(look: Look) -> dict[str, Any]:
    """The rules of figures for scales and levels, which the page shares."""
    return {
        "decades": DECADES,
        "mostShared": MOST_SHARED,
        "every": EVERY,
        "steps": STEPS,
        "smallest": SMALLEST,
        "logRatio": LOG_RATIO,
        "levels": look.levels if isinstance(look.levels, int) else LEVELS,
        "sharedLevels": look.levels if isinstance(look.levels, int) else SHARED_LEVELS,
        "fixedLevels": None if look.levels is None or isinstance(look.levels, int) else sorted(look.levels),
    }


def _start(look: Look) -> dict[str, Any]:
    """The initial state of the controls."""
    tops = [bound for bound in (look.clip, look.vmax) if bound is not None]
    return {
        "quantity": look.metric,
        "log": look.log,
        "low": look.vmin,
        "high": min(tops) if tops else None,
        "evaluated": look.show_evaluated,
    }
