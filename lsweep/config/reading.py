"""Reads configurations from TOML files and text, and derives one from another."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from lsweep.config.building import build
from lsweep.config.sweep import Config
from lsweep.errors import ConfigError

P = TypeVar("P")
MOST_BYTES = 1 << 16  # largest configuration: a key with a hundred thousand dots would take minutes to parse


def load(path: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> Config:
    """Read a TOML file, apply `KEY=VALUE` overrides, and check everything.

    Raises:
        ConfigError: the file or a key is invalid; the message names it.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)  # reading a device would never end
        if content.startswith(b"\x89HDF"):
            raise ConfigError(
                f"{str(path)!r} is an HDF5 file, perhaps the output of a sweep; expected a TOML configuration"
            )
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a zero byte in the path
        raise ConfigError(f"cannot read the configuration {str(path)!r}: {_reason(error)}") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{str(path)!r} is not a configuration: it has more than {MOST_BYTES} bytes")
    return parse(text, overrides, name=str(path))


def parse(text: str, overrides: tuple[str, ...] | list[str] = (), *, name: str = "configuration") -> Config:
    """Like `load`, but from TOML text."""
    try:
        table = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError: invalid TOML, or a number with too many digits
        raise ConfigError(f"{name} is not valid TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    return from_table(table)


def from_table(table: dict[str, Any]) -> Config:
    """Build a `Config` from nested dictionaries, as a TOML parser returns them."""
    config: Config = build(Config, table, "")
    return config if "open_axes" in table else opened(config, table.get("grid", {}))


def opened(config: Config, grid: Mapping[str, Any]) -> Config:
    """The configuration with `open_axes` set: with a trail, the axes for which `grid` has neither min nor max."""
    if not config.directions.trail:
        return config
    unbound = [n for n in config.grid.names if not {"min", "max"} & set(grid.get(n, {}))]
    return dataclasses.replace(config, open_axes=tuple(unbound))


def part(cls: type[P], table: dict[str, Any], where: str) -> P:
    """Build one section from its table, as `from_table` builds the whole configuration."""
    made: P = build(cls, table, where)
    return made


def with_seed(config: Config, seed: int) -> Config:
    """The same sweep with another seed for its random directions and another output: out.h5 → out_seed3.h5.

    Raises:
        ConfigError: no axis uses the common seed, so every file would contain the same sweep.
    """
    own = [getattr(config.directions, axis) for axis in config.grid.names]
    if not any((o.kind or config.directions.kind) == "random" and o.seed is None for o in own):
        raise ConfigError(
            "--seeds needs an axis with a random direction drawn with directions.seed, and there is none; "
            'set directions.kind = "random" and no seed for that axis',
            key="directions.seed",
        )
    output = Path(config.output)
    if not output.name:
        raise ConfigError(f"--seeds needs an output with a file name, got {config.output!r}", key="output")
    return dataclasses.replace(
        config,
        output=str(output.with_name(f"{output.stem}_seed{seed}{output.suffix}")),
        directions=dataclasses.replace(config.directions, seed=seed),
    )


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"an override is KEY=VALUE, as in grid.x.num=101; got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()  # an unquoted word is a string, for convenience on a command line
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key.strip()}: {part!r} is a value, not a table", key=key.strip())
    table[parts[-1]] = value


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
