"""Attributes that hold JSON, as input: nothing in them is trusted."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import h5py

from lsweep.errors import FileFormatError
from lsweep.store.foreign import text

J = TypeVar("J", list, dict)

_DEEPEST = 50  # levels of JSON: what reads it further may recurse


def json_value(place: h5py.Group, name: str, kind: type[J]) -> J:
    """The list or dictionary in an attribute; an empty one where there is none.

    Raises:
        FileFormatError: it is something else.
    """
    content = text(place, name)
    try:
        value = json.loads(content) if content else kind()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind) or _depth(value) > _DEEPEST:
        raise FileFormatError(
            f"{place.file.filename!r}: the attribute {name!r} is not JSON as expected; the file is damaged",
            key=name,
        )
    return value


def _depth(value: Any) -> int:
    """How deep lists and dictionaries lie in each other."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, (list, dict))]:
        depth += 1
        level = [v for outer in level for v in (outer.values() if isinstance(outer, dict) else outer)]
    return depth
