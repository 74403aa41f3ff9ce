"""What users rely on: public names, verbs and their options, exit statuses, keys of a configuration.

`python tests/support/interface.py` prints it; tests/golden/interface.json holds it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lsweep

API = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def documented() -> list[str]:
    """The dotted paths of the reference."""
    return sorted(re.findall(r"^::: (lsweep[\w.]+)", API.read_text(encoding="utf-8"), re.M))


def resolve(path: str) -> Any:
    """What a dotted path leads to, through modules and then attributes."""
    found: Any = lsweep
    parts = path.split(".")
    for count, name in enumerate(parts[1:], 2):
        try:
            found = getattr(found, name)
        except AttributeError:
            found = importlib.import_module(".".join(parts[:count]))
    return found


def options(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Verb → its options and positional arguments."""
    verbs = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {
        verb: sorted(name for action in sub._actions for name in action.option_strings or [action.dest])
        for verb, sub in sorted(verbs.choices.items())
    }


def keys(cls: Any, prefix: str = "") -> Iterator[str]:
    """The keys of a configuration's tables, as `--set` takes them."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        inner = [
            t for t in (hints[field.name], *typing.get_args(hints[field.name])) if dataclasses.is_dataclass(t)
        ]
        if inner:
            yield from keys(inner[0], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def interface() -> dict[str, Any]:
    """All of it, in JSON types."""
    from lsweep import config, errors

    try:
        dispatch: Any = importlib.import_module("lsweep.cli.dispatch")
    except ModuleNotFoundError:
        dispatch = importlib.import_module("lsweep.cli")
    return {
        "names": sorted(lsweep.__all__),
        "documented": documented(),
        "options": options(dispatch._parser()),
        "exit_statuses": {
            name: value for name, value in sorted(vars(errors).items()) if name.startswith("EXIT_")
        },
        "keys": sorted(keys(config.Config)),
    }


if __name__ == "__main__":
    print(json.dumps(interface(), indent=1))
