"""Builds dataclasses from TOML tables according to the types of their fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal

from lsweep.errors import ConfigError, InputError, nearest


def build(cls: Any, table: Any, where: str) -> Any:
    """Build an instance of a dataclass from a table.

    Args:
        cls: the dataclass; the types of its fields determine the allowed values.
        table: keys and values, nested for fields that are dataclasses themselves.
        where: the key of the table in the configuration, "" for the whole configuration.

    Raises:
        ConfigError: a key is unknown, missing, or has an impossible value; the message names the key.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table, got {_shown(table)}", key=where)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in fields:
            raise ConfigError(
                f"unknown key {_join(where, key)!r}{nearest(key, fields)}", key=_join(where, key)
            )
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in table.items()}
    for key, f in fields.items():
        missing = dataclasses.MISSING
        if key not in values and f.default is missing and f.default_factory is missing:
            raise ConfigError(f"missing key {_join(where, key)!r}", key=_join(where, key))
    try:
        return cls(**values)
    except InputError as error:
        if error.key and error.key.startswith(where):
            raise
        raise ConfigError(f"{where}: {error}", key=_join(where, error.key or "")) from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # `Literal[…] | None` is the latter
        inner = [a for a in arguments if a is not type(None)]
        words = [a for a in inner if typing.get_origin(a) is Literal]
        others = [a for a in inner if a not in words]
        return _convert(
            (words if others == [] or (words and isinstance(value, str)) else others)[0], value, where
        )
    if origin is Literal:
        if value not in arguments or not isinstance(value, str):
            raise ConfigError(
                f"{where} must be one of {', '.join(arguments)}; got {_shown(value)}", key=where
            )
        return value
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_convert(arguments[0], item, where) for item in items)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if (
        type(value) is int and not -(2**63) <= value < 2**63
    ):  # the bounds of TOML, which Python's parser ignores
        raise ConfigError(f"{where} must fit into 64 bits, got {_shown(value)}", key=where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"{where} must be {_TYPE_NAMES[hint]}, got {_shown(value)}", key=where)
    return value


_TYPE_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or an integer of too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where and key else where or key
