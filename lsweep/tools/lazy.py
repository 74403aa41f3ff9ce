"""Packages whose names are loaded when they are first used (PEP 562), so that importing them loads nothing.

scientific-python's `lazy_loader` does the same, but for names that are called alike where they live: `lsweep.open` is
`lsweep.store.reader.read`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attach(
    package: str, homes: Mapping[str, str], modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`.

    Args:
        package: its name.
        homes: public name → where it lives, "module" or "module:name" where it is called otherwise there. No module of
            the package may bear such a name: importing it would hide what is meant.
        modules: of the package, to be had as its attributes without a further import.
    """

    def load(name: str) -> Any:
        if name in homes:
            module, _, inner = homes[name].partition(":")
            return getattr(importlib.import_module(module), inner or name)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *modules})

    return load, names
