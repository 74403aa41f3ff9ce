"""Sweeps to compare: reading, checks that they are comparable, and grouping by network."""

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

# Keys of a recipe of random directions besides the seed, with the values for files written before a key existed.
_RANDOM = {"normalize": "filter", "bias_bn": "zero", "space": "weights", "include": [], "exclude": []}
_LONGEST = 50  # characters of a split's name, which is arbitrary text from the file


@dataclass(frozen=True)
class Sweep:
    """The contents of a sweep's file that a comparison needs.

    Attributes:
        path: the file.
        surface: its values.
        identity: hashes of weights, data and directions, and the settings that determine the values bit for bit.
        recipe: axis → how its direction was constructed.
    """

    path: Path
    surface: Surface
    identity: Mapping[str, Any]
    recipe: Mapping[str, Any]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that were evaluated; the metrics of the first have no suffix."""
        return tuple(printable(split[:_LONGEST]) for split in _table(self.identity, "data")) or ("train",)

    @property
    def seed(self) -> str:
        """The seeds of the directions as text; "" if no direction was drawn from a seed."""
        drawn = [_table(self.recipe, n) for n in self.surface.axes if _is_random(self.recipe, n)]
        seeds = dict.fromkeys(str(recipe.get("seed", "")) for recipe in drawn)
        return printable(", ".join(seeds))

    @property
    def facets(self) -> dict[str, str]:
        """The properties that must agree for sweeps to be comparable, as text."""
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
        """Group key: files with the same key differ at most in the seed of the directions and in numerical accuracy.

        Two lines from one solution to two others are not repeats: directions without a seed must be the same.
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
    """Reasons why the sweeps are not comparable, one line each: differences from the first, or incomplete files."""
    first = sweeps[0]
    found = []
    for sweep in sweeps:
        pending = sweep.surface.count(Status.PENDING)
        if pending:
            found.append(f"{sweep.path}: {pending} of {sweep.surface.status.size} points are pending")
        ours = sweep.facets
        found += [
            f"{first.path} and {sweep.path} differ in the {name}: {theirs or '?'} and {ours[name] or '?'}"
            for name, theirs in first.facets.items()
            if ours[name] != theirs
        ]
    return found


def networks(sweeps: Sequence[Sweep], names: Sequence[str] = ()) -> list[Network]:
    """Group the sweeps by network, in the order in which these first appear.

    Args:
        sweeps: of one or several networks.
        names: of the networks; by default from the configurations, with additions where these are equal.

    Raises:
        InputError: two files hold the same network along the same directions, or the number of names is wrong.
    """
    groups: dict[tuple[str, ...], list[Sweep]] = {}
    for sweep in sweeps:
        group = groups.setdefault(sweep.network, [])
        for other in group:
            if _directions(other) == _directions(sweep):
                raise InputError(
                    f"{other.path} and {sweep.path} hold the same network along the same directions; give only one"
                )
        group.append(sweep)
    if names and len(names) != len(groups):
        raise InputError(
            f"expected one name for each of the {len(groups)} networks, got {len(names)}", key="name"
        )
    named = names or _names([group[0] for group in groups.values()])
    return [Network(name, tuple(group)) for name, group in zip(named, groups.values(), strict=True)]


def _names(firsts: Sequence[Sweep]) -> list[str]:
    """The first of these that are distinct: source, source with weights, file name, numbered file name."""
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
    """A key that identifies the directions; a file without their hashes equals no other file."""
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
    """A subtable; empty if the file, which may hold anything, has something else there."""
    value = table.get(key)
    return value if isinstance(value, dict) else {}
