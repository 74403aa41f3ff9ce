"""The complete configuration, and its smaller tables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from lsweep.config.directions import DirectionsConfig
from lsweep.config.evaluate import CurvatureConfig, EvaluateConfig
from lsweep.config.train import TrainConfig
from lsweep.errors import ConfigError
from lsweep.grid import Axis, Grid


@dataclass(frozen=True)
class ModelConfig:
    """The network and its trained weights θ*."""

    source: str
    weights: str | None = None


@dataclass(frozen=True)
class DataConfig:
    """The examples over which the loss is averaged."""

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
class ScheduleConfig:
    """Which rank evaluates which tile."""

    kind: Literal["auto", "static", "dynamic"] = "auto"  # auto: dynamic if the ranks' devices differ
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
    """How results are written to the file."""

    mode: Literal["auto", "mpio", "gather"] = "auto"
    sync_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.sync_seconds < float("inf"):
            raise ConfigError(
                f"store.sync_seconds must be finite and >= 0, got {self.sync_seconds}",
                key="store.sync_seconds",
            )


@dataclass(frozen=True)
class Config:
    """One sweep and, with a table `train`, the training of the network that it sweeps.

    Attributes:
        open_axes: the axes whose range is determined by `directions.trail`; set by `from_table`.
    """

    output: str
    model: ModelConfig
    data: DataConfig
    directions: DirectionsConfig = field(default_factory=DirectionsConfig)
    grid: Grid = field(default_factory=lambda: Grid(Axis(), Axis()))
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    curvature: CurvatureConfig = field(default_factory=CurvatureConfig)
    schedule: ScheduleConfig = ScheduleConfig()
    store: StoreConfig = StoreConfig()
    train: TrainConfig | None = None
    open_axes: tuple[str, ...] = ()

    def to_toml(self) -> str:
        """The resolved configuration as TOML text; keys that are None are left out."""
        import tomli_w

        return tomli_w.dumps(_without_none(dataclasses.asdict(self)))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: _without_none(v) for k, v in value.items() if v is not None}
        return {k: v for k, v in kept.items() if v != {}}
    if isinstance(value, (list, tuple)):
        return [_without_none(v) for v in value]
    return value
