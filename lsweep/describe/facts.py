"""Facts about how the values of a sweep were computed, as one dictionary of JSON types."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from lsweep.grid import AXIS_NAMES
from lsweep.surface import Status, Surface

K = TypeVar("K")
NUMBER = (int, float)


def facts(surface: Surface, certificate: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The recorded facts about the network, data, directions, grid, evaluation, estimates, software and hardware.

    Args:
        surface: the surface as read from a file.
        certificate: known errors, in JSON types; replaces the file's own certificate and is returned unchanged.

    Returns:
        Sections, each a dictionary without empty entries; empty sections are absent.
    """
    try:
        config: dict[str, Any] = tomllib.loads(surface.config)
    except (tomllib.TOMLDecodeError, RecursionError):
        config = {}
    found = {
        "network": _network(surface, config),
        "data": _data(surface, config),
        "directions": _directions(surface),
        "grid": _grid(surface),
        "evaluation": _evaluation(surface, config),
        "estimates": _estimates(surface),
        "trajectory": _trajectory(surface),
        "certificate": dict(certificate) if certificate is not None else _certificate(surface),
        "software": _software(surface.provenance),
        "hardware": _hardware(surface),
    }
    return {name: section for name, section in found.items() if section}


def get(table: Any, kind: type[K] | tuple[type[K], ...], *keys: str) -> K | None:
    """The value below these keys if it exists and has that type, else None; a file may hold anything."""
    for key in keys:
        if not isinstance(table, Mapping) or key not in table:
            return None
        table = table[key]
    wanted = isinstance(table, kind) and not (isinstance(table, bool) and kind is not bool)
    return table if wanted else None


def _certificate(surface: Surface) -> dict[str, Any]:
    """Errors at the points that were evaluated again with all examples."""
    found = surface.certificate
    if found is None or not len(found) or not found.losses:
        return {}
    spreads = {kind: found.spread(found.losses[0], kind) for kind in found.populations}
    return {
        "precision": found.precision,
        "errors": {
            kind.name.lower(): {
                "points": s.count,
                "of": found.populations[kind],
                "median": s.median,
                "95 %": s.most,
                "largest": s.largest,
            }
            for kind, s in spreads.items()
            if s is not None
        },
    }


def _network(surface: Surface, config: Mapping[str, Any]) -> dict[str, Any]:
    return _known(
        source=get(config, str, "model", "source"),
        weights=get(config, str, "model", "weights"),
        weights_sha256=get(surface.identity, str, "weights"),
        parameters=get(surface.provenance, int, "parameters"),
    )


def _data(surface: Surface, config: Mapping[str, Any]) -> dict[str, Any]:
    hashes = _of_kind(get(surface.identity, dict, "data"), str)
    examples = _of_kind(get(surface.provenance, dict, "examples"), int)
    return _known(
        source=get(config, str, "data", "source"),
        path=get(config, str, "data", "path"),
        test_path=get(config, str, "data", "test_path"),
        splits=list(hashes) or list(surface.splits if get(config, list, "data", "split") else ()),
        examples=examples,
        limit=get(config, int, "data", "limit"),
        sha256=hashes,
        mean=get(config, list, "data", "mean"),
        std=get(config, list, "data", "std"),
    )


def _directions(surface: Surface) -> dict[str, Any]:
    """Axis → recipe and hash. Read from the recipe, because the configuration does not record explicit tensors."""
    kind = get(surface.recipe, str, "kind")
    found = {}
    for axis in surface.axes:
        recipe = {"kind": kind} if kind else get(surface.recipe, dict, axis) or {}
        # Files of an early version also hold entries for other axes here.
        one = {key: value for key, value in recipe.items() if value is not None and key not in AXIS_NAMES}
        digest = get(surface.identity, str, "directions", axis)
        if one or digest:
            found[axis] = one | _known(sha256=digest)
    return found


def _grid(surface: Surface) -> dict[str, Any]:
    axes = {n: {"min": float(v[0]), "max": float(v[-1]), "num": len(v)} for n, v in surface.axes.items()}
    counts = {status.name.lower(): surface.count(status) for status in Status}
    nonfinite = int((surface.done & ~np.isfinite(surface.loss)).sum())
    return _known(
        axes=axes,
        points=int(surface.status.size),
        **{name: count or None for name, count in counts.items()},
        loss_not_finite=nonfinite or None,
        refine_tolerance=get(surface.identity, NUMBER, "refine", "tolerance"),
    )


def _evaluation(surface: Surface, config: Mapping[str, Any]) -> dict[str, Any]:
    identity = surface.identity
    curvature = get(identity, dict, "curvature") or {}
    metrics = [n for n in surface.metrics if surface.done.any() and np.isfinite(surface.metrics[n]).any()]
    return _known(
        loss=get(identity, str, "loss") or get(config, str, "evaluate", "loss"),
        metrics=metrics,
        precision=get(identity, str, "precision"),
        precision_tolerance=get(identity, NUMBER, "tolerance"),
        relative_error=get(identity, NUMBER, "relative_error"),
        absolute_error=get(identity, NUMBER, "absolute_error") or None,
        confidence=get(identity, NUMBER, "confidence"),
        batch_size=get(identity, int, "batch_size"),
        batchnorm=get(identity, str, "batchnorm") or get(config, str, "evaluate", "batchnorm"),
        recalibrate_examples=get(config, int, "evaluate", "recalibrate_examples"),
        curvature=curvature,
    )


def _estimates(surface: Surface) -> dict[str, Any]:
    """Numbers of examples and standard errors of the loss, where these were recorded per point."""
    done = surface.done
    found: dict[str, Any] = {}
    examples = surface.columns.get("examples")
    if examples is not None and done.any():
        found["examples"] = [int(examples[done].min()), int(examples[done].max())]
    stderr = surface.metrics.get("loss_stderr")
    if stderr is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = stderr[done] / np.abs(surface.loss[done])
        relative = relative[np.isfinite(relative)]
        if len(relative):
            found |= {
                "loss_stderr_median": float(np.median(relative)),
                "loss_stderr_largest": float(relative.max()),
            }
    return found


def _trajectory(surface: Surface) -> dict[str, Any]:
    path = surface.trajectory
    if path is None:
        return {}
    epochs = path.epochs if np.isfinite(path.learning_rates).any() else None
    return _known(
        trails=len(path.names),
        checkpoints=len(path.coordinates),
        epochs=None if epochs is None else [int(epochs.min()), int(epochs.max())],
        captured=path.captured if np.isfinite(path.captured) else None,
        explained=[float(v) for v in path.explained] if np.isfinite(path.explained).all() else None,
    )


def _software(provenance: Mapping[str, Any]) -> dict[str, Any]:
    return _known(
        lsweep=get(provenance, str, "lsweep"),
        commit=get(provenance, str, "commit"),
        python=get(provenance, str, "python"),
        packages=_of_kind(get(provenance, dict, "packages"), str),
        converted_from=get(provenance, str, "converted", "format"),
    )


def _hardware(surface: Surface) -> dict[str, Any]:
    provenance, sessions = surface.provenance, surface.sessions
    alone = get(provenance, int, "ranks")
    ranks = sorted({s["ranks"] for s in sessions if get(s, int, "ranks")}) or ([alone] if alone else [])
    hosts = {h for s in sessions for h in (get(s, str, "hosts") or "").split(",") if h}
    spent = surface.seconds[np.isfinite(surface.seconds)]
    return _known(
        device=get(provenance, str, "device"),
        processor=get(provenance, str, "processor"),
        system=get(provenance, str, "system"),
        ranks=ranks,
        threads=get(provenance, int, "threads"),
        hosts=len(hosts) or None,
        seconds=round(float(spent.sum()), 1) if len(spent) else None,
    )


def _of_kind(table: Mapping[Any, Any] | None, kind: type[K]) -> dict[str, K]:
    return {str(k): v for k, v in (table or {}).items() if isinstance(v, kind)}


def _known(**values: Any) -> dict[str, Any]:
    return {name: v for name, v in values.items() if v is not None and v != "" and v != {} and v != []}
