"""Catalogue of the measures of a surface; docs/compare.md defines each by a formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsweep.compare.area import area_below
from lsweep.compare.minima import local_minima
from lsweep.compare.plane import Plane, plane_of
from lsweep.compare.roughness import excess_variation
from lsweep.compare.stencils import convex_share, second_difference
from lsweep.compare.sweeps import Sweep
from lsweep.errors import InputError
from lsweep.surface import Status, Surface

DEPTH = 0.1  # in ln(loss), a climb of about 10 %
LEVELS = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        metric: the loss whose surface is measured.
        depth: the minimum depth of a local minimum, in ln(loss).
        levels: losses below which the area is measured, in increasing order.
    """

    metric: str = "loss"
    depth: float = DEPTH
    levels: tuple[float, ...] = LEVELS

    def __post_init__(self) -> None:
        if not 0 <= self.depth < math.inf:
            raise InputError(f"depth must be finite and >= 0, got {self.depth}", key="depth")
        if not self.levels or not all(map(math.isfinite, self.levels)):
            raise InputError(f"levels must be finite numbers, got {list(self.levels)}", key="levels")


@dataclass(frozen=True)
class Number:
    """A measure that `measure` computes.

    Attributes:
        key: its name in JSON and CSV.
        label: its name in tables.
        percent: whether it is a share, which tables show in per cent.
        judged: whether networks are compared by it; False for counts of unusable points.
    """

    key: str
    label: str
    percent: bool = False
    judged: bool = True


def catalogue(sweeps: Sequence[Sweep], settings: Settings) -> list[Number]:
    """The measures of at least one of these sweeps."""
    splits = dict.fromkeys(split for sweep in sweeps for split in sweep.splits)
    axes = dict.fromkeys(n for s in sweeps for n in plane_of(s.surface, settings.metric).names)
    curved = any("eig_ratio" in sweep.surface.metrics for sweep in sweeps)
    return [
        *(Number(f"loss_{s}", f"loss at the centre, {s}") for s in splits),
        *(Number(f"error_{s}", f"error at the centre, {s}", percent=True) for s in splits),
        *(Number(f"curvature_{n}", f"curvature along {n} at the centre") for n in axes),
        *(Number(f"log_curvature_{n}", f"curvature of ln(loss) along {n}") for n in axes),
        Number("convex_share", "points with a convex neighbourhood", percent=True),
        *(Number(f"below_{v:g}", f"area below loss {v:g}", percent=True) for v in settings.levels),
        Number("minima", f"minima deeper than {settings.depth:g} in ln(loss)"),
        Number("second_depth", "depth of the second minimum, ln(loss)"),
        Number("roughness", "roughness: excess variation of ln(loss)"),
        Number("largest", "largest loss"),
        Number("decades", "range: log10(largest / smallest)"),
        *(_EIGENVALUES if curved else ()),
        *_COUNTS,
    ]


_EIGENVALUES = (
    Number("eig_ratio_centre", "|λmin/λmax| at the centre"),
    Number("eig_ratio_median", "|λmin/λmax|, median"),
    Number("eig_ratio_90", "|λmin/λmax|, 90 % quantile"),
)
_COUNTS = (
    Number("evaluated", "points evaluated", judged=False),
    Number("settled", "… interpolated (settled)", judged=False),
    Number("unknown", "… failed or pending", judged=False),
    Number("nan", "… NaN", judged=False),
    Number("infinite", "… infinite", judged=False),
)


def measure(sweep: Sweep, settings: Settings) -> dict[str, float]:
    """The measures of one sweep by key; NaN for those that are not defined.

    Raises:
        InputError: see `plane_of`.
    """
    surface = sweep.surface
    plane = plane_of(surface, settings.metric)
    with np.errstate(all="ignore"):  # losses near 1e308 have infinite differences
        return {
            **_centre(sweep, plane),
            **_curvatures(plane),
            **_shape(plane, settings),
            **_heights(plane),
            **_eigenvalues(surface, plane),
            **_counts(surface, settings.metric),
        }


def _centre(sweep: Sweep, plane: Plane) -> dict[str, float]:
    """Loss and error of every split at θ*; metrics of the first split have no suffix."""
    found = {}
    for index, split in enumerate(sweep.splits):
        suffix = f"_{split}" if index else ""
        for key, metric in (("loss", "loss"), ("error", "accuracy")):
            values = sweep.surface.metrics.get(metric + suffix)
            value = math.nan if values is None else plane.at_centre(values.reshape(plane.values.shape))
            found[f"{key}_{split}"] = 1.0 - value if key == "error" else value
    return found


def _curvatures(plane: Plane) -> dict[str, float]:
    found = {}
    for key, values in (("curvature", plane.values), ("log_curvature", plane.log)):
        for k, (name, step) in enumerate(zip(plane.names, plane.steps, strict=True)):
            axis = len(plane.names) - 1 - k
            at = plane.centre
            found[f"{key}_{name}"] = math.nan if at is None else second_difference(values, at, axis, step)
    return found


def _shape(plane: Plane, settings: Settings) -> dict[str, float]:
    log = plane.log
    # Deepest first. A plane divided by walls of NaN has several minima of infinite depth.
    depths = [minimum.depth for minimum in local_minima(log)]
    known = bool(np.isfinite(log).any())
    return {
        "convex_share": convex_share(plane.values, plane.steps),
        **{f"below_{v:g}": _area(plane, v) for v in settings.levels},
        "minima": float(sum(d > settings.depth for d in depths)) if known else math.nan,
        "second_depth": (depths[1] if len(depths) > 1 else 0.0) if known else math.nan,
        "roughness": excess_variation(log),
    }


def _area(plane: Plane, level: float) -> float:
    return area_below(plane.values, plane.known, level) if plane.names else math.nan


def _heights(plane: Plane) -> dict[str, float]:
    finite = plane.values[np.isfinite(plane.values)]
    log = plane.log[np.isfinite(plane.log)]
    return {
        "largest": float(finite.max()) if finite.size else math.nan,
        "decades": float(np.ptp(log)) / math.log(10) if log.size else math.nan,
    }


def _eigenvalues(surface: Surface, plane: Plane) -> dict[str, float]:
    if "eig_ratio" not in surface.metrics:
        return {}
    ratio = surface.metrics["eig_ratio"].reshape(plane.values.shape)
    finite = ratio[np.isfinite(ratio)]
    median, high = np.quantile(finite, [0.5, 0.9]) if finite.size else (math.nan, math.nan)
    return {
        "eig_ratio_centre": plane.at_centre(ratio),
        "eig_ratio_median": float(median),
        "eig_ratio_90": float(high),
    }


def _counts(surface: Surface, metric: str) -> dict[str, float]:
    done = surface.done
    values = surface.metrics[metric][done]
    counts = {
        "evaluated": int(done.sum()),
        "settled": int(surface.settled.sum()),
        "unknown": surface.count(Status.FAILED) + surface.count(Status.PENDING),
        "nan": int(np.isnan(values).sum()),
        "infinite": int(np.isinf(values).sum()),
    }
    return {key: float(count) for key, count in counts.items()}
