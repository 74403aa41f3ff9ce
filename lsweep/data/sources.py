"""Datasets by their name in a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from lsweep.data import npz
from lsweep.data.images import image_data
from lsweep.data.objects import from_object
from lsweep.data.resident import ResidentBatches, ResidentData
from lsweep.errors import DataError, InputError, MissingExtra, nearest
from lsweep.tools import plugins


def load(config: Any, split: str) -> ResidentData | ResidentBatches:
    """Read one split into memory, on the CPU.

    Args:
        config: a `lsweep.config.DataConfig`. `path` is the path of the first split of `config.split`, `test_path` that
            of the second. `limit` keeps the first examples, or all if there are fewer.
        split: "train" or "test", one of `config.split`.

    Values of `config.source`:
        npz: `path` is a file or a glob of files with `images` (N, H, W, C) or (N, H, W), uint8 or float32 (not
            scaled), and `labels` (N,), integers.
        cifar10: torchvision's copy below `path`, default "data"; downloaded if missing.
        digits: scikit-learn's 8×8 digits, float32 in [0, 1], in a fixed random order, 80 % of them for training.
        package.module:factory, file.py:factory: called with `split=` if it has that parameter; `from_object` converts
            the result.
    Batches are (images (B, C, H, W) float32, labels (B,) int64), with bytes scaled to [0, 1] and images normalised
    with `mean` and `std` if given. The batches of a factory are used unchanged.

    Raises:
        DataError: the data are missing, damaged or not of the form described here.
        ConfigError: a user's factory cannot be found or imported.
        MissingExtra: the source needs a package that is not installed.
    """
    if split not in config.split:
        raise DataError(f"data.split must contain {split!r}, got {list(config.split)}", key="data.split")
    if config.limit is not None and config.limit < 1:
        raise DataError(f"data.limit must be >= 1, got {config.limit}", key="data.limit")
    if ":" in config.source:
        return _user(config, split)
    if config.source not in SOURCES:
        raise DataError(
            f"data.source: unknown source {config.source!r}{nearest(config.source, SOURCES)}; for your own data use "
            '"package.module:factory" or "file.py:factory"',
            key="data.source",
        )
    return SOURCES[config.source](config, split)


def _npz(config: Any, split: str) -> ResidentData:
    key = "path" if split == config.split[0] else "test_path"
    pattern = getattr(config, key)
    if pattern is None:
        raise DataError(
            f'data.{key} must name the npz files of the {split} split, as in "data/{split}_*.npz"',
            key=f"data.{key}",
        )
    return image_data(*npz.read(pattern, config.limit), config)


def _cifar10(config: Any, split: str) -> ResidentData:
    try:
        from torchvision.datasets import CIFAR10
    except ModuleNotFoundError:
        raise MissingExtra(
            "data.source 'cifar10' needs torchvision: pip install '.[torch]' in lsweep's clone",
            key="data.source",
        ) from None
    root = config.path or "data"
    if split != config.split[0] and config.test_path is not None:
        root = config.test_path
    try:
        dataset = _present_or_fetched(CIFAR10, root, train=split == "train")
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors, torchvision's are RuntimeErrors
        raise DataError(
            f"CIFAR-10 is not in {root!r} and could not be downloaded ({error}); extract cifar-10-python.tar.gz "
            'there, set data.path to another folder, or use data.source = "npz"',
            key="data.path",
        ) from None
    images, labels = dataset.data[: config.limit], np.asarray(dataset.targets, dtype=np.int64)[: config.limit]
    return image_data(images, labels, config)


def _present_or_fetched(make: Callable[..., Any], root: str, *, train: bool) -> Any:
    try:
        return make(root, train=train)
    except RuntimeError:  # missing, or its checksums are wrong
        return make(root, train=train, download=True)


def _digits(config: Any, split: str) -> ResidentData:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise MissingExtra(
            "data.source 'digits' needs scikit-learn: pip install '.[demo]' in lsweep's clone",
            key="data.source",
        ) from None
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    train = len(order) * 4 // 5
    chosen = (order[:train] if split == "train" else order[train:])[: config.limit]
    images = (digits.images[chosen] / 16.0).astype(np.float32)  # pixel values are 0…16
    return image_data(images[..., None], digits.target[chosen].astype(np.int64), config)


def _user(config: Any, split: str) -> ResidentData | ResidentBatches:
    if config.mean is not None or config.std is not None:
        raise DataError(
            f"data.mean and data.std apply only to {', '.join(SOURCES)}; normalise in {config.source!r} instead",
            key="data.mean",
        )
    factory = plugins.resolve(config.source, what="data.source")
    try:
        data = _call(factory, split) if callable(factory) else factory
    except InputError:
        raise
    except Exception as error:
        raise DataError(
            f"data.source {config.source!r} failed: {type(error).__name__}: {error}", key="data.source"
        ) from error
    return from_object(data, limit=config.limit)


def _call(factory: Callable[..., Any], split: str) -> Any:
    parameters = inspect.signature(factory).parameters.values()
    takes_split = any(p.name == "split" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return factory(split=split) if takes_split else factory()


SOURCES: dict[str, Callable[[Any, str], ResidentData]] = {"npz": _npz, "cifar10": _cifar10, "digits": _digits}
