"""Networks by name: the built-in ones of [Li18], torchvision's, and the user's own.

A source is one of

- a built-in name: `resnet56`, `vgg9`, …; see `names`;
- `"torchvision:resnet18"`: a torchvision network with its initial weights;
- `"my_package.nets:make_net"` or `"nets.py:make_net"`: a factory, or a `torch.nn.Module` subclass.

Every built-in network is deterministic in eval mode, traceable by torch.fx, and names its parameters as the
checkpoints released with [Li18] do. Initial weights come from torch's own initialisation and global
generator.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from lsweep.errors import InputError, MissingExtra, ModelError, nearest
from lsweep.tools import plugins

if TYPE_CHECKING:
    import torch

__all__ = ["build", "names"]

_TORCHVISION = "torchvision:"
_KEY = "model.source"

# name -> (module of this package, class, arguments); strings, so that listing the names does not import torch
_Recipe = tuple[str, str, dict[str, Any]]


def _recipes() -> dict[str, _Recipe]:
    table: dict[str, _Recipe] = {"vgg9": ("vgg", "VGG9", {})}
    for width in (8, 16, 32):  # narrow networks, named by the channels of the first stage
        table[f"vgg9_{width}"] = ("vgg", "VGG9", {"width": width})
    for depth in (20, 32, 44, 56, 110):
        for suffix, shortcut in (("", "conv"), ("_noshort", "none"), ("_a", "pad")):
            arguments = {"depth": depth, "shortcut": shortcut}
            table[f"resnet{depth}{suffix}"] = ("resnet", "CifarResNet", arguments)
    for width in (2, 4, 8):
        for suffix, shortcut in (("", "conv"), ("_noshort", "none")):
            arguments = {"depth": 56, "width": width, "shortcut": shortcut}
            table[f"wrn56_{width}{suffix}"] = ("resnet", "CifarResNet", arguments)
    table["densenet121"] = ("densenet", "CifarDenseNet", {})
    return table


def names() -> tuple[str, ...]:
    """Return the names of the built-in networks."""
    return tuple(_recipes())


def build(source: str, **kwargs: Any) -> torch.nn.Module:
    """Build the network that `source` names, on the CPU, in float32 and training mode (the defaults of torch).

    Args:
        source: see this module's description.
        kwargs: passed to the network's factory. Built-in networks take `num_classes` and `in_channels`.

    Raises:
        ModelError: the name is unknown, the factory fails, or it does not return a `torch.nn.Module`.
        ConfigError: the module, file or attribute of a user's factory cannot be found or imported.
        MissingExtra: torch or torchvision is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtra(
            "networks need torch: pip install '.[torch]' in lsweep's clone", key=_KEY
        ) from None
    factory, arguments = _factory(source)
    try:
        model = factory(**arguments, **kwargs)
    except InputError:
        raise
    except Exception as error:
        raise ModelError(f"{_KEY} {source!r} failed: {type(error).__name__}: {error}", key=_KEY) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"{_KEY} {source!r} must return a torch.nn.Module, got {type(model).__name__}", key=_KEY
        )
    return model


def _factory(source: str) -> tuple[Any, dict[str, Any]]:
    if source.startswith(_TORCHVISION):
        return _torchvision_factory(source.removeprefix(_TORCHVISION))
    if ":" in source:
        return _user_factory(source), {}
    recipes = _recipes()
    if source not in recipes:
        raise ModelError(
            f"{_KEY}: no built-in network {source!r}{nearest(source, recipes)}; for another network use "
            '"torchvision:name", "package.module:factory" or "file.py:factory"',
            key=_KEY,
        )
    module, attribute, arguments = recipes[source]
    return getattr(importlib.import_module(f"lsweep.models.{module}"), attribute), arguments


def _torchvision_factory(name: str) -> tuple[Any, dict[str, Any]]:
    try:
        from torchvision import models
    except ModuleNotFoundError:
        raise MissingExtra(
            f"{_KEY} '{_TORCHVISION}{name}' needs torchvision: pip install '.[torch]' in lsweep's clone",
            key=_KEY,
        ) from None
    known = models.list_models()
    if name not in known:
        close = nearest(name, known)
        hint = close if "did you mean" in close else " (torchvision.models.list_models() lists them)"
        raise ModelError(f"{_KEY}: torchvision has no network {name!r}{hint}", key=_KEY)
    builder = models.get_model_builder(name)
    # Detection and segmentation networks would download a trained backbone even if weights is None.
    offered = inspect.signature(builder).parameters
    return builder, {key: None for key in ("weights", "weights_backbone") if key in offered}


def _user_factory(source: str) -> Any:
    factory = plugins.resolve(source, what=_KEY)
    if not callable(factory):
        raise ModelError(
            f"{_KEY} {source!r} must be a factory or an nn.Module subclass, got {type(factory).__name__}",
            key=_KEY,
        )
    return factory
