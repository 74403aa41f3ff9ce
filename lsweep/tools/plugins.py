"""Plugins: the user's functions and classes, named by strings in a configuration.

`"package.module:name"` is imported as `python -m` does, with the working directory on the module path.
`"path/to/file.py:name"` loads that file as a module, with its folder on the module path.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from lsweep.errors import ConfigError, nearest


def resolve(spec: str, *, what: str) -> Any:
    """Return the object that `spec` names.

    Args:
        spec: "package.module:name" or "path/to/file.py:name" (relative to the working directory); the name
            may contain dots.
        what: the configuration key whose value `spec` is, such as "model.source"; used in messages.

    Raises:
        ConfigError: `spec` has neither form, the module, file or name does not exist, or importing it raised.
    """
    place, colon, name = spec.rpartition(":")
    is_file = place.endswith(".py")
    if not colon or not _is_dotted(name) or not (is_file or _is_dotted(place)):
        raise ConfigError(
            f'{what} must be "package.module:name" or "path/to/file.py:name", got {spec!r}', key=what
        )
    module = _load_file(place, what) if is_file else _import_module(place, what)
    return _attribute(module, name, f"{what} {spec!r}", what)


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _import_module(name: str, what: str) -> ModuleType:
    with _importing(Path.cwd()):
        importlib.invalidate_caches()  # the file may be newer than the interpreter's listing of its folder
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                _refuse(name, what, error)
            raise ConfigError(
                f"{what}: there is no module {error.name!r}, neither installed nor in {str(Path.cwd())!r}",
                key=what,
            ) from None
        except (Exception, SystemExit) as error:
            _refuse(name, what, error)


def _load_file(path: str, what: str) -> ModuleType:
    file = Path(path).resolve()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what}: cannot read {path!r}: {error.strerror}", key=what) from None
    # One module name per path and content: a file that is named twice is loaded once, so that its classes are
    # identical and can be pickled; an edited file is a new module.
    name = f"lsweep_user_{file.stem}_{hashlib.sha256(bytes(file) + content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # true for every path that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it is executed, because dataclasses look up their module
    with _importing(file.parent, Path.cwd()):
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            _refuse(path, what, error)
    return module


def _refuse(place: str, what: str, error: BaseException) -> NoReturn:
    raise ConfigError(
        f"{what}: importing {place!r} failed: {type(error).__name__}: {error}", key=what
    ) from error


@contextlib.contextmanager
def _importing(*folders: Path) -> Iterator[None]:
    """Put `folders` first on the module path; move them to its end afterwards.

    They stay on the path so that an import inside a user's function works when it is called. They are last so that a
    file with the name of a library cannot hide the library.
    """
    added = [str(folder) for folder in folders]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):  # the user's module may have changed the path itself
                sys.path.remove(folder)
            if folder not in sys.path:
                sys.path.append(folder)


def _attribute(module: ModuleType, name: str, where: str, what: str) -> Any:
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            public = [option for option in dir(found) if not option.startswith("_")]
            raise ConfigError(
                f"{where}: there is no {part!r} in it{nearest(part, public)}", key=what
            ) from None
    return found
