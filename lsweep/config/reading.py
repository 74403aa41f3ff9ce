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
MOST_BYTES = 1 << 16  # of a configuration: a key of a hundred thousand dots would keep the parser for minutes


def load(path: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> Config:
    """Read a TOML file, apply `KEY=VALUE` overrides, check everything.

    Raises:
        ConfigError: naming the key or the file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)  # of a device there is no end
        if content.startswith(b"\x89HDF"):
            raise ConfigError(
                f"{str(path)!r} is an HDF5 file, a sweep's output perhaps; expected a TOML configuration"
            )
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a zero byte in the path
        raise ConfigError(f"cannot read the configuration {str(path)!r}: {_reason(error)}") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{str(path)!r} is no configuration: it has more than {MOST_BYTES} bytes")
    return parse(text, overrides, name=str(path))


def parse(text: str, overrides: tuple[str, ...] | list[str] = (), *, name: str = "configuration") -> Config:
    """Like `load`, from TOML text."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: TOML's own, or a number of too many digits
        raise ConfigError(f"{name} is not valid TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    return from_table(table)


def from_table(table: dict[str, Any]) -> Config:
    """Build a `Config` from nested dictionaries, as TOML gives them."""
    config: Config = build(Config, table, "")
    return config if "open_axes" in table else opened(config, table.get("grid", {}))


def opened(config: Config, grid: Mapping[str, Any]) -> Config:
    """The configuration with the axes open whose range a trail decides: those that `grid` gives neither end of."""
    if not config.directions.trail:
        return config
    unbound = [n for n in config.grid.names if not {"min", "max"} & set(grid.get(n, {}))]
    return dataclasses.replace(config, open_axes=tuple(unbound))


def part(cls: type[P], table: dict[str, Any], where: str) -> P:
    """Build one section, as `from_table` builds the whole."""
    made: P = build(cls, table, where)
    return made


def with_seed(config: Config, seed: int) -> Config:
    """The same sweep with another seed for its random directions, in a file of its own: out.h5 → out_seed3.h5.

    Raises:
        ConfigError: no axis draws with the common seed, so every file would hold the same sweep.
    """
    own = [getattr(config.directions, axis) for axis in config.grid.names]
    if not any((o.kind or config.directions.kind) == "random" and o.seed is None for o in own):
        raise ConfigError(
            "--seeds: no axis has random directions drawn with directions.seed", key="directions.seed"
        )
    output = Path(config.output)
    if not output.name:
        raise ConfigError(f"--seeds needs an output to name files after, got {config.output!r}", key="output")
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
        value = text.strip()  # an unquoted word: on a shell's command line, a string
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{key.strip()}: {part!r} is a value, not a table", key=key.strip())
    table[parts[-1]] = value


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
