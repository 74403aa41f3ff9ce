"""Sweeps to compare: requirements on them, and their grouping by network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lsweep.errors import InputError, printable
from lsweep.render.field import configuration
from lsweep.store import reader
from lsweep.surface import Status, Surface

# What a recipe of random directions says besides its seed; a file may be older than a key.
_RANDOM = {"normalize": "filter", "bias_bn": "zero", "space": "weights", "include": [], "exclude": []}
_LONGEST = 50  # characters of a split's name, which a file may make up


@dataclass(frozen=True)
class Sweep:
    """A sweep's file as far as comparing needs it.

    Attributes:
        path: the file.
        surface: its values.
        identity: hashes of weights, data and directions, and the settings that decide its bits.
        recipe: axis → how its direction was made.
    """

    path: Path
    surface: Surface
    identity: Mapping[str, Any]
    recipe: Mapping[str, Any]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that were evaluated; the metrics of the first have plain names."""
        return tuple(printable(split[:_LONGEST]) for split in _table(self.identity, "data")) or ("train",)

    @property
    def seed(self) -> str:
        """Of the directions, in words; "" where none was drawn from a seed."""
        drawn = [_table(self.recipe, n) for n in self.surface.axes if _is_random(self.recipe, n)]
        seeds = dict.fromkeys(str(recipe.get("seed", "")) for recipe in drawn)
        return printable(", ".join(seeds))

    @property
    def facets(self) -> dict[str, str]:
        """What must be alike for numbers to be comparable, in words."""
        data = _table(self.identity, "data")
        said = {
            "grid": ", ".join(f"{n} {v[0]:g}…{v[-1]:g} × {len(v)}" for n, v in self.surface.axes.items()),
            "splits": ", ".join(self.splits),
            "data": ", ".join(f"{split} {str(digest)[:12]}" for split, digest in data.items()),
            "loss": str(self.identity.get("loss", "")),
            "directions": ", ".join(dict.fromkeys(_made(self.recipe, n) for n in self.surface.axes)),
            "BatchNorm statistics": " ".join(
                str(self.identity[key])[:12] for key in ("batchnorm", "recalibration") if key in self.identity
            )
            or "fixed",
        }
        return {name: printable(text) for name, text in said.items()}

    @property
    def network(self) -> tuple[str, ...]:
        """Files that agree in this differ at most in the directions' seed, and in how exactly they were computed.

        Two lines from one solution to two others are not repeats: directions that no seed drew must be the same.
        """
        hashes = _table(self.identity, "directions")
        fixed = [str(hashes.get(n)) for n in self.surface.axes if not _is_random(self.recipe, n)]
        return str(self.identity.get("weights") or self.path), *self.facets.values(), *fixed


@dataclass(frozen=True)
class Network:
    """The sweeps of one network along different directions."""

    name: str
    sweeps: tuple[Sweep, ...]


def read(path: str | Path) -> Sweep:
    """Read a sweep's file. Raises FileFormatError, see `lsweep.store.reader.read`."""
    path = Path(path)
    reader.look_first(path, reader.read, reader.read_identity, reader.read_directions)
    surface = reader.read(path, trusted=True)
    identity = reader.read_identity(path, trusted=True)[0]
    return Sweep(path, surface, identity, _table(reader.read_directions(path, trusted=True), "recipe"))


def differences(sweeps: Sequence[Sweep]) -> list[str]:
    """What forbids to compare them, one line each: files that are unlike the first, or not complete."""
    first = sweeps[0]
    found = []
    for sweep in sweeps:
        pending = sweep.surface.count(Status.PENDING)
        if pending:
            found.append(f"{sweep.path}: {pending} of {sweep.surface.status.size} points are pending")
        ours = sweep.facets
        found += [
            f"{first.path} and {sweep.path} differ in the {name}: {theirs or '?'} against {ours[name] or '?'}"
            for name, theirs in first.facets.items()
            if ours[name] != theirs
        ]
    return found


def networks(sweeps: Sequence[Sweep], names: Sequence[str] = ()) -> list[Network]:
    """Group the sweeps by network, in the order in which these first appear.

    Args:
        sweeps: of one or several networks.
        names: of the networks; by default those of the configurations, told apart where they are the same.

    Raises:
        InputError: two files hold the same network along the same directions; or not one name per network.
    """
    groups: dict[tuple[str, ...], list[Sweep]] = {}
    for sweep in sweeps:
        group = groups.setdefault(sweep.network, [])
        for other in group:
            if _directions(other) == _directions(sweep):
                raise InputError(
                    f"{other.path} and {sweep.path} hold one network along the same directions: give one of them"
                )
        group.append(sweep)
    if names and len(names) != len(groups):
        raise InputError(f"{len(groups)} networks need as many names, got {len(names)}", key="name")
    named = names or _names([group[0] for group in groups.values()])
    return [Network(name, tuple(group)) for name, group in zip(named, groups.values(), strict=True)]


def _names(firsts: Sequence[Sweep]) -> list[str]:
    """The shortest of these that tell the networks apart: source, with weights, the file's name, a number."""
    stems = [printable(sweep.path.stem) for sweep in firsts]
    choices = [
        [_model(sweep, "source") or stem for sweep, stem in zip(firsts, stems, strict=True)],
        [f"{_model(s, 'source')} ({PurePath(_model(s, 'weights')).stem})" for s in firsts],
        stems,
    ]
    distinct = [names for names in choices if len(set(names)) == len(firsts)]
    return distinct[0] if distinct else [f"{n + 1}: {stem}" for n, stem in enumerate(stems)]


def _model(sweep: Sweep, key: str) -> str:
    value = _table(configuration(sweep.surface), "model").get(key)
    return printable(value.rsplit("/", 1)[-1]) if isinstance(value, str) else ""


def _directions(sweep: Sweep) -> str:
    """What identifies them; a file that does not say is like no other."""
    return json.dumps(sweep.identity.get("directions") or str(sweep.path), sort_keys=True)


def _made(recipe: Mapping[str, Any], axis: str) -> str:
    made = _table(recipe, axis)
    if not _is_random(recipe, axis):
        return str(made.get("kind") or recipe.get("kind") or "")
    said = {key: made.get(key, default) for key, default in _RANDOM.items()}
    return " ".join(["random", *(f"{key}={value}" for key, value in said.items() if value != [])])


def _is_random(recipe: Mapping[str, Any], axis: str) -> bool:
    return _table(recipe, axis).get("kind") == "random"


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table within one; empty where a file, which may say anything, has something else there."""
    value = table.get(key)
    return value if isinstance(value, dict) else {}
