"""One training run from beginning to end: deterministic, and can be stopped and resumed at any step.

The random numbers of every step (order, augmentation, dropout) are a function of seed, epoch and step, so only weights
and optimiser state must be stored to resume with the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsweep import data, models
from lsweep.comm import Comm
from lsweep.config import Config, DataConfig, EvaluateConfig, TrainConfig
from lsweep.data import ResidentData
from lsweep.errors import ConfigError, DataError
from lsweep.evaluate import device, objective
from lsweep.evaluate.device import BATCH_SIZE
from lsweep.models import checkpoint, parameters
from lsweep.models.trail import Trail
from lsweep.tools import provenance
from lsweep.tools.lock import acquire
from lsweep.tools.progress import Progress, Silent
from lsweep.tools.stop import Stop
from lsweep.training.batches import with_noise
from lsweep.training.loop import Training, TrainingOutcome
from lsweep.training.trail_writer import TrailWriter, claim


def settings_of(config: Config) -> TrainConfig:
    """The table [train], with the trail's folder filled in."""
    settings = config.train or TrainConfig()
    folder = settings.trail or str(Path(config.output).with_suffix(".trail"))
    return dataclasses.replace(settings, trail=folder)


def train(
    config: Config,
    comm: Comm,
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
    break_lock: bool = False,
) -> TrainingOutcome:
    """Train the network that `config` describes, or resume its trail.

    Raises:
        InputError: the input is invalid, or the folder contains the trail of another training.
        DivergenceError: the loss or a weight is no longer finite; the trail ends with the last finite checkpoint.
    """
    settings = settings_of(config)
    assert settings.trail is not None
    folder = Path(settings.trail)
    with ExitStack() as stack:
        guard = stack.enter_context(_held(folder, break_lock))
        stack.enter_context(device.threads_of(comm))
        stack.enter_context(device.repeatable())
        chosen = device.choose_device(config.evaluate.device, comm)
        stack.enter_context(torch.random.fork_rng(devices=[chosen] if chosen.type == "cuda" else []))
        measured = objective.from_config(config.evaluate)
        model, splits = _initial(config.model.source, settings), _splits(config.data)
        new = Trail(
            folder,
            identity=_identity(config.evaluate, settings, model, splits),
            config=config.to_toml(),
            provenance={**provenance.collect(), "device": device.describe(chosen)},
        )
        writer = TrailWriter.open(new, guard)
        splits["train"] = with_noise(splits["train"], settings)
        size = config.evaluate.batch_size
        training = Training(
            model,
            splits,
            measured,
            settings,
            device=chosen,
            eval_batch=size if isinstance(size, int) else BATCH_SIZE[chosen.type],
        )
        return training.run(writer, progress or Silent(), stop or Stop())


@contextmanager
def _held(folder: Path, break_lock: bool) -> Iterator[Callable[[], None]]:
    claim(folder)
    lock = acquire(folder, break_lock=break_lock)
    try:
        yield lock.check
    finally:
        lock.release()


def _initial(source: str, settings: TrainConfig) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed if settings.init_seed is None else settings.init_seed)
        model = models.build(source)
    if settings.start is not None:
        checkpoint.fit(model, checkpoint.read(settings.start), settings.start)
    return model


def _splits(config: DataConfig) -> dict[str, ResidentData]:
    if "train" not in config.split:
        raise ConfigError(f'training needs "train" in data.split, got {list(config.split)}', key="data.split")
    found: dict[str, ResidentData] = {}
    for split in config.split:
        examples = data.load(config, split)
        if not isinstance(examples, ResidentData):
            raise DataError(
                "training draws single examples, but this data set consists of fixed batches; return tensors or a "
                "map-style dataset from data.source",
                key="data.source",
            )
        found[split] = examples
    return found


def _identity(
    config: EvaluateConfig, settings: TrainConfig, model: nn.Module, splits: Mapping[str, ResidentData]
) -> dict[str, Any]:
    """The properties that identify a training. More epochs make it longer, not a different one."""
    apart = ("trail", "start", "init_seed", "epochs")  # the initial weights are identified by their hash
    return {
        "weights": parameters.sha256(*model.state_dict().values()),
        "data": {split: examples.sha256() for split, examples in splits.items()},
        "loss": config.objective or config.loss,
        **{key: value for key, value in dataclasses.asdict(settings).items() if key not in apart},
    }
