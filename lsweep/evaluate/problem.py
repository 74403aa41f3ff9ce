"""Network, data and objective, built from a configuration."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from lsweep import data, models
from lsweep.comm import Comm
from lsweep.comm.shared_memory import share_tree
from lsweep.config import Config
from lsweep.data.resident import share_examples
from lsweep.errors import ConfigError, InputError
from lsweep.evaluate import objective
from lsweep.evaluate.device import choose_device
from lsweep.evaluate.objective import Objective
from lsweep.models import checkpoint, trail
from lsweep.models.parameters import WeightSpace, weight_space

log = logging.getLogger("lsweep")


@dataclass(frozen=True)
class Problem:
    """The network, data and objective of a sweep.

    Attributes:
        model: the network, at θ*.
        splits: name → examples on the CPU; the metrics of the first split have plain names.
        objective: the objective.
        name: name of the loss or objective, part of the sweep's identity.
        calibration: examples for the recalibration of BatchNorm, on the CPU; None without recalibration.
    """

    model: nn.Module
    splits: Mapping[str, Any]
    objective: Objective
    name: str
    calibration: Any = None

    @property
    def largest(self) -> int:
        """Number of examples of the largest split."""
        return max(len(split) for split in self.splits.values())


@dataclass(frozen=True)
class Placement:
    """Device and precision of the evaluation, and the tensors that move.

    Attributes:
        device: device of this rank.
        dtype: precision of the flat parameters; lower precisions are copies of the network, checked against it.
        space: the tensors that move.
    """

    device: torch.device
    dtype: torch.dtype
    space: WeightSpace


def place(config: Config, model: nn.Module, comm: Comm, space: str | None = None) -> Placement:
    """Collective: this rank's device and the parameter space; `space` overrides `directions.space`.

    Raises:
        InputError: the device does not exist, several ranks share a GPU, or the network has no parameters.
    """
    chosen = choose_device(config.evaluate.device, comm, share_gpu=config.schedule.share_gpu)
    found = weight_space(model, space or config.directions.space)
    with comm.together():
        if not found.entries:
            raise InputError("the network has no parameters, so there is nothing to move")
    return Placement(chosen, torch.float64 if config.evaluate.precision == "fp64" else torch.float32, found)


def build(config: Config, comm: Comm) -> Problem:
    """Collective: build the network, data and objective of `config`; only rank 0 reads files.

    Raises:
        InputError: on every rank alike: the network, its weights or the data are invalid.
    """
    with comm.together():
        measured = objective.from_config(config.evaluate)
    model = network(config, comm)
    splits = {
        split: share_examples(comm, partial(data.load, config.data, split)) for split in config.data.split
    }
    name = config.evaluate.objective or config.evaluate.loss
    return Problem(model, splits, measured, name, _calibration(config, comm))


def _calibration(config: Config, comm: Comm) -> Any:
    """Collective: the first examples of the train split, regardless of `data.limit`."""
    if config.evaluate.batchnorm != "recalibrate":
        return None
    with comm.together():
        if "train" not in config.data.split:
            raise ConfigError(
                'evaluate.batchnorm = "recalibrate" takes its images from the train split: add "train" to data.split',
                key="data.split",
            )
    settings = dataclasses.replace(config.data, limit=config.evaluate.recalibrate_examples)
    return share_examples(comm, partial(data.load, settings, "train"))


def network(config: Config, comm: Comm) -> nn.Module:
    """Collective: the network with its trained weights; by default the last ones of the trail.

    Raises:
        InputError: on every rank alike.
    """
    with comm.together():
        model = initial(config.model.source)
    given = config.model.weights
    if given is None and config.directions.trail:  # the plane contains its last weights
        given = comm.on_root(lambda: str(trail.last_checkpoint(config.directions.trail[0])))
    restore(model, given, comm)
    return model


def initial(source: str) -> nn.Module:
    """Build a network with the same initial weights in every run; the global generator is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.build(source)


def restore(model: nn.Module, weights: str | None, comm: Comm) -> None:
    """Collective: load the trained weights, or rank 0's initial ones; the bits are the same on every rank."""
    if weights is None and comm.is_root:
        log.warning("model.weights is not set: the network's initial weights are swept")
    with comm.temporary():
        if weights is None:
            state = share_tree(comm, lambda: dict(model.state_dict()))
            with comm.together():
                model.load_state_dict(state)
        else:
            state = share_tree(comm, lambda: checkpoint.read(weights))
            with comm.together():
                checkpoint.fit(model, state, weights)
