"""The configuration of a sweep: frozen dataclasses, read from TOML, overridden with KEY=VALUE.

Unknown keys, wrong types and impossible values raise `ConfigError` naming the key. `to_toml` writes the
resolved configuration, every default spelled out, as it is stored in the output file.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from lsweep.errors import ConfigError, InputError, nearest
from lsweep.grid import Axis, Grid

P = TypeVar("P")
MOST_BYTES = 1 << 16  # of a configuration: a key of a hundred thousand dots would keep the parser for minutes
Kind = Literal["random", "interpolate", "pca", "file", "hessian"]
Normalize = Literal["filter", "layer", "weight", "dfilter", "dlayer", "none"]
BiasBn = Literal["zero", "copy", "random"]


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 2**63:  # what torch.Generator takes
        raise ConfigError(f"a seed must be >= 0 and < 2^63, got {seed}", key="seed")


def _check_eigenvector(number: int | None) -> None:
    if number == 0:
        raise ConfigError(
            "eigenvector counts from the largest eigenvalue, 1, or from the smallest, -1; got 0",
            key="eigenvector",
        )


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and its trained weights θ*."""

    source: str
    weights: str | None = None


@dataclass(frozen=True)
class DataConfig:
    """Which examples the loss is the mean over."""

    source: str
    path: str | None = None
    test_path: str | None = None
    split: tuple[str, ...] = ("train",)
    limit: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.split or len(set(self.split)) < len(self.split) or set(self.split) - {"train", "test"}:
            raise ConfigError(
                f'data.split must be "train", "test" or both, got {list(self.split)}', key="data.split"
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"data.limit must be >= 1, got {self.limit}", key="data.limit")


@dataclass(frozen=True)
class AxisDirection:
    """What one axis says otherwise than `DirectionsConfig`; None means as there."""

    kind: Kind | None = None
    seed: int | None = None
    normalize: Normalize | None = None
    bias_bn: BiasBn | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    to: str | None = None
    path: str | None = None
    eigenvector: int | None = None

    def __post_init__(self) -> None:
        _check_seed(self.seed)
        _check_eigenvector(self.eigenvector)


@dataclass(frozen=True)
class DirectionsConfig:
    """How the directions d₁, d₂, … are made ([Li18] §4)."""

    kind: Kind = "random"
    seed: int = 0
    normalize: Normalize = "filter"
    bias_bn: BiasBn = "zero"
    space: Literal["weights", "states"] = "weights"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    to: str | None = None
    to_y: str | None = None
    to_z: str | None = None
    path: str | None = None
    # Of the Hessian at the centre: 1 the largest eigenvalue's, 2 the next, -1 the smallest's; None: x 1, y 2, z 3.
    eigenvector: int | None = None
    keep: bool = False
    trail: tuple[str, ...] = ()  # whose path is drawn into the plane; the axes of "pca" come from it
    centred: bool = True
    margin: float = 0.25
    x: AxisDirection = AxisDirection()
    y: AxisDirection = AxisDirection()
    z: AxisDirection = AxisDirection()

    def __post_init__(self) -> None:
        _check_seed(self.seed)
        _check_eigenvector(self.eigenvector)
        if "pca" in (self.kind, self.x.kind, self.y.kind, self.z.kind) and not self.trail:
            raise ConfigError(
                'directions.kind = "pca" needs directions.trail, the folder that `lsweep train` wrote',
                key="directions.trail",
            )
        if not 0 <= self.margin < float("inf"):
            raise ConfigError(
                f"directions.margin must be finite and >= 0, got {self.margin}", key="directions.margin"
            )


@dataclass(frozen=True)
class EvaluateConfig:
    """What is computed at a point, and how."""

    loss: str = "cross_entropy"
    objective: str | None = None
    metrics: tuple[str, ...] = ()
    precision: Literal["fp32", "fp64", "tf32", "bf16", "fp16", "auto"] = "fp32"
    tolerance: float = 0.01  # of what a lower precision adds to the loss's error, relative
    relative_error: float | None = None  # of the loss: as many examples as that needs; None: all of them
    absolute_error: float = 0.0  # enough where the loss is near zero
    confidence: float = 0.95
    least_examples: int = 100
    neighbours: bool = True  # with relative_error on a refined grid: choose examples by what they lose around
    device: str = "auto"
    batch_size: int | Literal["auto"] | None = None  # None: a constant per kind of device; auto: measured
    points_at_once: int | Literal["auto"] = 1
    fold_batchnorm: bool = True
    batchnorm: Literal["fixed", "recalibrate"] = "fixed"  # its running statistics away from the centre
    recalibrate_examples: int = 1000  # of the train split, the first ones, whatever data.limit is
    max_failures: int = 5
    # Evaluated points, and as many interpolated ones, that a complete sweep ends with evaluating again in full.
    certificate: int = 0

    @property
    def own_metrics(self) -> tuple[str, ...]:
        """The metrics that are functions of output and target: all but "hessian"."""
        return tuple(metric for metric in self.metrics if metric.strip() != "hessian")

    @property
    def hessian(self) -> bool:
        """Whether the extreme eigenvalues of the Hessian are wanted at every point."""
        return self.own_metrics != self.metrics

    def __post_init__(self) -> None:
        if len(self.metrics) - len(self.own_metrics) > 1:
            raise ConfigError("the metric 'hessian' is given twice", key="evaluate.metrics")
        if isinstance(self.batch_size, int) and self.batch_size < 1:
            raise ConfigError(
                f"evaluate.batch_size must be >= 1, got {self.batch_size}", key="evaluate.batch_size"
            )
        if not 0 < self.tolerance < 1:
            raise ConfigError(
                f"evaluate.tolerance must be > 0 and < 1, got {self.tolerance}", key="evaluate.tolerance"
            )
        self._check_subset()
        if isinstance(self.points_at_once, int) and self.points_at_once < 1:
            raise ConfigError(
                f"evaluate.points_at_once must be >= 1, got {self.points_at_once}",
                key="evaluate.points_at_once",
            )
        if self.recalibrate_examples < 2:
            raise ConfigError(
                f"evaluate.recalibrate_examples must be >= 2, got {self.recalibrate_examples}",
                key="evaluate.recalibrate_examples",
            )
        for key in ("max_failures", "certificate"):
            if getattr(self, key) < 0:
                raise ConfigError(
                    f"evaluate.{key} must be >= 0, got {getattr(self, key)}", key=f"evaluate.{key}"
                )

    def _check_subset(self) -> None:
        for name, low, high in (
            ("relative_error", 0.0, 1.0),
            ("absolute_error", -1.0, float("inf")),
            ("confidence", 0.5, 1.0),
            ("least_examples", 19, float("inf")),
        ):
            value = getattr(self, name)
            if value is not None and not (low < value < high and value >= 0):
                raise ConfigError(
                    f"evaluate.{name} must be > {max(low, 0)} and < {high}, got {value}",
                    key=f"evaluate.{name}",
                )
        if self.absolute_error and self.relative_error is None:
            raise ConfigError(
                "evaluate.absolute_error goes with evaluate.relative_error; set both",
                key="evaluate.absolute_error",
            )


@dataclass(frozen=True)
class CurvatureConfig:
    """How eigenvalues of the Hessian are computed, where `evaluate.metrics` has "hessian", and for directions."""

    tolerance: float = 1e-3  # of the residual ‖Hv − λv‖, about, as a share of the largest |λ|
    max_products: int = 400  # with the Hessian, about, before less is taken for enough
    seed: int = 0
    batch_size: int | None = None  # None: a constant per kind of device

    def __post_init__(self) -> None:
        _check_seed(self.seed)
        if not 0 < self.tolerance <= 0.1:
            raise ConfigError(
                f"curvature.tolerance must be > 0 and <= 0.1, got {self.tolerance}", key="curvature.tolerance"
            )
        for key in ("max_products", "batch_size"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"curvature.{key} must be >= 1, got {value}", key=f"curvature.{key}")


@dataclass(frozen=True)
class ScheduleConfig:
    """Which rank evaluates which tile."""

    kind: Literal["auto", "static", "dynamic"] = "auto"  # auto: dynamic where the ranks' devices differ
    tile: int = 1
    share_gpu: bool = False
    silent_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not 0 < self.silent_seconds < float("inf"):
            raise ConfigError(
                f"schedule.silent_seconds must be finite and > 0, got {self.silent_seconds}",
                key="schedule.silent_seconds",
            )
        if self.tile < 1:
            raise ConfigError(f"schedule.tile must be >= 1, got {self.tile}", key="schedule.tile")


@dataclass(frozen=True)
class StoreConfig:
    """How results reach the file."""

    mode: Literal["auto", "mpio", "gather"] = "auto"
    sync_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.sync_seconds < float("inf"):
            raise ConfigError(
                f"store.sync_seconds must be finite and >= 0, got {self.sync_seconds}",
                key="store.sync_seconds",
            )


@dataclass(frozen=True)
class TrainConfig:
    """How `lsweep train` makes a trail of checkpoints; the defaults are the recipe of [Li18] §6.

    Attributes:
        trail: the folder; by default the output with the suffix ".trail".
        start: weights to begin from; by default the network's own initialisation, drawn with `init_seed`.
        epochs, batch_size, optimizer: as ever. An epoch's last batch is as short as it comes.
        lr, drops, drop_factor: the learning rate, multiplied by `drop_factor` after each epoch of `drops`.
        momentum, nesterov: of SGD; `betas` and `eps` are Adam's.
        weight_decay: an L2 term on every parameter, BatchNorm's and biases included.
        augment: "crop_flip" pads by `padding`, crops at random and mirrors half of the images.
        label_noise: this share of the training labels is wrong, each another class at random.
        micro_batch: the gradient of a batch is summed over pieces of this size, for want of memory; BatchNorm
            then takes its statistics piece by piece.
        checkpoint_every, evaluate_every: epochs.
        seed: of the order of examples, augmentation, dropout and label noise.
        init_seed: of the initial weights; by default `seed`.
    """

    trail: str | None = None
    start: str | None = None
    epochs: int = 300
    batch_size: int = 128
    micro_batch: int | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.1
    drops: tuple[int, ...] = (150, 225, 275)
    drop_factor: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 5e-4
    augment: Literal["crop_flip", "none"] = "crop_flip"
    padding: int = 4
    label_noise: float = 0.0
    checkpoint_every: int = 1
    evaluate_every: int = 1
    seed: int = 0
    init_seed: int | None = None

    def __post_init__(self) -> None:
        _check_seed(self.seed)
        _check_seed(self.init_seed)
        for key in ("epochs", "batch_size", "micro_batch", "checkpoint_every", "evaluate_every"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"train.{key} must be >= 1, got {value}", key=f"train.{key}")
        for key in ("lr", "drop_factor", "eps"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ConfigError(
                    f"train.{key} must be finite and > 0, got {getattr(self, key)}", key=f"train.{key}"
                )
        for key in ("weight_decay", "padding"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ConfigError(
                    f"train.{key} must be finite and >= 0, got {getattr(self, key)}", key=f"train.{key}"
                )
        if not 0 <= self.label_noise <= 1:
            raise ConfigError(
                f"train.label_noise must be in [0, 1], got {self.label_noise}", key="train.label_noise"
            )
        if not 0 <= self.momentum < 1:
            raise ConfigError(
                f"train.momentum must be >= 0 and < 1, got {self.momentum}", key="train.momentum"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"train.betas must be two numbers >= 0 and < 1, got {list(self.betas)}", key="train.betas"
            )


@dataclass(frozen=True)
class Config:
    """One sweep, or with a table `train` the training whose result it sweeps.

    Attributes:
        open_axes: the axes whose range `directions.trail` decides; `from_table` finds them.
    """

    output: str
    model: ModelConfig
    data: DataConfig
    directions: DirectionsConfig = DirectionsConfig()
    grid: Grid = field(default_factory=lambda: Grid(Axis(), Axis()))
    evaluate: EvaluateConfig = EvaluateConfig()
    curvature: CurvatureConfig = CurvatureConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    store: StoreConfig = StoreConfig()
    train: TrainConfig | None = None
    open_axes: tuple[str, ...] = ()

    def to_toml(self) -> str:
        """The resolved configuration as TOML text; keys that are None are left out."""
        import tomli_w

        return tomli_w.dumps(_without_none(dataclasses.asdict(self)))


def load(path: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> Config:
    """Read a TOML file, apply `KEY=VALUE` overrides, check everything.

    Raises:
        ConfigError: naming the key or the file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)  # of a device there is no end
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
    config: Config = _build(Config, table, "")
    if not config.directions.trail or "open_axes" in table:
        return config
    given = table.get("grid", {})
    unbound = [n for n in config.grid.names if not {"min", "max"} & set(given.get(n, {}))]
    return dataclasses.replace(config, open_axes=tuple(unbound))


def part(cls: type[P], table: dict[str, Any], where: str) -> P:
    """Build one section, as `from_table` builds the whole."""
    made: P = _build(cls, table, where)
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


def _build(cls: Any, table: Any, where: str) -> Any:
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
        return _build(hint, value, where)
    if (
        type(value) is int and not -(2**63) <= value < 2**63
    ):  # TOML's own bounds, which Python's parser ignores
        raise ConfigError(f"{where} must fit into 64 bits", key=where)
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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: _without_none(v) for k, v in value.items() if v is not None}
        return {k: v for k, v in kept.items() if v != {}}
    if isinstance(value, (list, tuple)):
        return [_without_none(v) for v in value]
    return value
