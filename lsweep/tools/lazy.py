"""Lazy packages, whose names are loaded on first use (PEP 562), and aliases of modules that moved.

scientific-python's `lazy_loader` does the same, but cannot rename: `lsweep.open` is `lsweep.store.reader.read`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def attach(
    package: str, homes: Mapping[str, str], modules: Sequence[str] = (), moved: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return a package's `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: the package's name.
        homes: module of the package → its public names, separated by spaces; "open=read" exports the module's
            `read` as `open`. No module may have the same name as a public object: importing it would hide the object.
        modules: submodules that are available as attributes without a separate import.
        moved: old names of modules, also available as attributes, but not listed by `dir`; see `alias_modules`.
    """
    found = {}
    for module, names in homes.items():
        for name, _, inner in (word.partition("=") for word in names.split()):
            found[name] = f"{package}.{module}", inner or name

    def load(name: str) -> Any:
        if name in found:
            module, inner = found[name]
            return getattr(importlib.import_module(module), inner)
        if name in modules or name in moved:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: sorted({*vars(sys.modules[package]), *found, *modules}), sorted(found)


class _Aliases:
    """Finds and loads modules under their old names; `sys.modules` holds one object under both names."""

    def __init__(self, present: Mapping[str, str]) -> None:
        self._present = present

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        loader: Any = self  # typeshed requires the abstract class, whose import takes 5 ms
        return ModuleSpec(fullname, loader) if fullname in self._present else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Create an empty module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self._present[module.__name__])


def alias_modules(package: str, moved: Mapping[str, str]) -> None:
    """Make the modules of a package importable under their old names too.

    Args:
        package: the package's name.
        moved: old name → present name, both relative to the package.
    """
    present = {f"{package}.{old}": f"{package}.{new}" for old, new in moved.items()}
    # Inserted first: otherwise an alias of a package would load its files a second time under the old name.
    sys.meta_path.insert(0, _Aliases(present))
