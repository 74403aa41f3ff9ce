"""The configuration of a sweep: frozen dataclasses, read from TOML, overridden with KEY=VALUE.

Unknown keys, wrong types and impossible values raise `ConfigError`, which names the key. `Config.to_toml` returns the
resolved configuration with all defaults, as stored in the output file.
"""

from __future__ import annotations

from lsweep.config.directions import AxisDirection, BiasBn, DirectionsConfig, Kind, Normalize
from lsweep.config.evaluate import CurvatureConfig, EvaluateConfig
from lsweep.config.reading import MOST_BYTES, from_table, load, opened, parse, part, with_seed
from lsweep.config.sweep import Config, DataConfig, ModelConfig, ScheduleConfig, StoreConfig
from lsweep.config.train import TrainConfig

__all__ = [
    "MOST_BYTES",
    "AxisDirection",
    "BiasBn",
    "Config",
    "CurvatureConfig",
    "DataConfig",
    "DirectionsConfig",
    "EvaluateConfig",
    "Kind",
    "ModelConfig",
    "Normalize",
    "ScheduleConfig",
    "StoreConfig",
    "TrainConfig",
    "from_table",
    "load",
    "opened",
    "parse",
    "part",
    "with_seed",
]
