"""Training loop: SGD or Adam on a resident dataset, with checkpoints and resumable state."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from lsweep.config import TrainConfig
from lsweep.data import ResidentData
from lsweep.errors import EXIT_COMPLETE, EXIT_ERROR, EXIT_STOPPED, ConfigError, DivergenceError
from lsweep.evaluate.flat_parameters import evaluation_mode
from lsweep.evaluate.objective import Objective, Supervised, check_labels
from lsweep.models import checkpoint
from lsweep.models.trail import Epoch, Resume, Trail
from lsweep.tools.progress import Progress
from lsweep.tools.stop import Stop
from lsweep.training import optimisers
from lsweep.training.batches import TrainingBatches, seed_of
from lsweep.training.trail_writer import TrailWriter


def weighted_sum(measured: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ weights·values and Σ weights of an objective's output for a batch: values (B,), or values and weights."""
    values, weight = measured if isinstance(measured, (tuple, list)) else (measured, None)
    if weight is None:
        return values.sum(), values.new_tensor(float(len(values)))
    return (values * weight).sum(), weight.sum()


def measure(model: nn.Module, objective: Objective, batches: Iterable[Any]) -> dict[str, float]:
    """Means over all batches, in evaluation mode: name → Σ weights·values / Σ weights, summed in float64."""
    sums: dict[str, torch.Tensor] = {}
    totals: dict[str, torch.Tensor] = {}
    with evaluation_mode(model), torch.no_grad():
        for batch in batches:
            for name, measured in objective(model, batch).items():
                values, weight = measured if isinstance(measured, (tuple, list)) else (measured, None)
                total, weights = weighted_sum((values.double(), weight))
                sums[name] = sums[name] + total if name in sums else total
                totals[name] = totals[name] + weights if name in totals else weights
    return {name: float(sums[name] / totals[name]) for name in sums}


log = logging.getLogger("lsweep")

WEIGHTS, OPTIMISER = "model.", "optimiser."


@dataclass(frozen=True)
class TrainingOutcome:
    """How a session ended.

    Attributes:
        trail: the trail as stored on disk.
        steps: the number of optimiser steps of this session that were saved.
        reason: why the session stopped early, or "".
    """

    trail: Trail
    steps: int
    reason: str = ""

    @property
    def exit_status(self) -> int:
        """0 if complete, 75 if stopped and resumable, 1 if stopped before the first step."""
        return EXIT_COMPLETE if not self.reason else EXIT_STOPPED if self.steps else EXIT_ERROR


class Training:
    """A network in training and its state: complete epochs, steps of the next epoch, and sums over these steps.

    Args:
        model: the network with its initial weights; trained in place, on `device`.
        splits: the data sets, among them "train", with label noise already applied.
        objective: its "loss" is minimised.
        settings: the training recipe.
        device: the device of the network and the data.
        eval_batch: examples per forward pass of an evaluation.

    Raises:
        DataError: data and network do not fit each other.
        ConfigError: no parameter can be trained.
    """

    def __init__(
        self,
        model: nn.Module,
        splits: Mapping[str, ResidentData],
        objective: Objective,
        settings: TrainConfig,
        *,
        device: torch.device,
        eval_batch: int,
    ) -> None:
        self.settings, self.objective, self.device, self.eval_batch = settings, objective, device, eval_batch
        self.model = model.to(device)
        self.splits = {name: examples.to(device) for name, examples in splits.items()}
        if isinstance(objective, Supervised):
            with evaluation_mode(model), torch.no_grad():
                for examples in self.splits.values():
                    check_labels(model, examples, eval_batch)
        self.batches = TrainingBatches(self.splits["train"], settings)
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            raise ConfigError(
                "the network has no trainable parameter; set requires_grad for at least one",
                key="model.source",
            )
        self.optimiser = optimisers.make(settings, parameters)
        self.epoch = self.step = 0
        self.sums: dict[str, torch.Tensor] = {}

    def run(self, writer: TrailWriter, progress: Progress, stop: Stop) -> TrainingOutcome:
        """Train to the end, or until `stop` requests a stop."""
        if writer.trail.resume is None:
            self._keep(writer, Epoch(0, self.lr, self._measured()))
        else:
            self._restore(writer)
        begun = kept = self.epoch * self.batches.steps + self.step
        total = self.settings.epochs * self.batches.steps
        progress.start(total, begun)
        slowest = 0.0
        try:
            while kept < total and not stop.due(slowest):
                start = time.monotonic()
                self._step()
                if self.step == self.batches.steps:
                    self._close_epoch(writer)
                kept += 1
                progress.advance(1)
                slowest = max(slowest, time.monotonic() - start)
        finally:
            progress.stop()
        if self.step:
            self._require_finite(writer)
        resume = writer.trail.resume
        if resume is not None and (resume.epoch, resume.step) != (self.epoch, self.step):
            writer.suspend(list(writer.trail.epochs), self._resume(), self._everything())
        return TrainingOutcome(writer.trail, kept - begun, stop.reason if kept < total else "")

    @property
    def lr(self) -> float:
        """The learning rate of the next epoch."""
        return optimisers.learning_rate(self.settings, self.epoch + 1)

    def _step(self) -> None:
        torch.manual_seed(seed_of(self.settings.seed, 4, self.epoch, self.step))
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr
        self.model.train()
        self.optimiser.zero_grad()
        batch = self.batches.batch(self.epoch, self.step)
        pieces = _pieces(batch, self.settings.micro_batch)
        for piece in pieces:
            values = self.objective(self.model, piece)
            loss, weight = weighted_sum(values["loss"])
            share = len(_leading(piece)) / len(_leading(batch))
            (loss / weight * share).backward()
            self._sum(values)
        self.optimiser.step()
        self.step += 1

    def _sum(self, values: Mapping[str, Any]) -> None:
        for name in ("loss", "accuracy"):
            if name in values:
                with torch.no_grad():
                    total, weight = weighted_sum(values[name])
                for key, value in ((name, total), (f"{name}_weight", weight)):
                    value = value.detach().double()
                    self.sums[key] = self.sums[key] + value if key in self.sums else value

    def _close_epoch(self, writer: TrailWriter) -> None:
        self._require_finite(writer)
        sums = {name: float(value) for name, value in self.sums.items()}
        running = {
            f"running_{name}": sums[name] / sums[f"{name}_weight"]
            for name in ("loss", "accuracy")
            if sums.get(f"{name}_weight")
        }
        number, rate = self.epoch + 1, self.lr
        settings = self.settings
        last = number == settings.epochs
        keep = last or number % settings.checkpoint_every == 0
        measured = self._measured() if keep or number % settings.evaluate_every == 0 else {}
        self.epoch, self.step, self.sums = number, 0, {}
        epoch = Epoch(number, rate, {**measured, **running})
        if keep:
            self._keep(writer, epoch)
        else:
            writer.note(epoch)
        log.info("epoch %d/%d: %s", number, settings.epochs, _words(epoch))

    def _measured(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for index, (split, examples) in enumerate(self.splits.items()):
            values = measure(self.model, self.objective, examples.batches(self.eval_batch))
            found |= {name if index == 0 else f"{name}_{split}": value for name, value in values.items()}
        return found

    def _require_finite(self, writer: TrailWriter) -> None:
        """Check loss and weights once per epoch, not at every step, because the host must wait for the device."""
        loss = float(self.sums["loss"])
        tensors = [t for t in self.model.state_dict().values() if t.is_floating_point()]
        if math.isfinite(loss) and all(bool(t.isfinite().all()) for t in tensors):
            return
        kept = writer.trail.checkpoints
        raise DivergenceError(
            f"training diverged in epoch {self.epoch + 1}: the loss or a weight is no longer finite "
            f"(learning rate {self.lr:g}); {str(writer.trail.folder)!r} keeps the checkpoints up to epoch "
            f"{kept[-1].number if kept else 0}; try a smaller train.lr, with another train.trail"
        )

    def _keep(self, writer: TrailWriter, epoch: Epoch) -> None:
        writer.add(epoch, self.model.state_dict(), self._resume(), self._everything())

    def _resume(self) -> Resume:
        return Resume(self.epoch, self.step, "", {name: float(value) for name, value in self.sums.items()})

    def _everything(self) -> dict[str, torch.Tensor]:
        state = {WEIGHTS + name: tensor for name, tensor in self.model.state_dict().items()}
        own = optimisers.state_tensors(self.optimiser)
        return {**state, **{OPTIMISER + name: tensor for name, tensor in own.items()}}

    def _restore(self, writer: TrailWriter) -> None:
        resume = writer.trail.resume
        assert resume is not None
        tensors = writer.resume_state()

        def below(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        checkpoint.fit(self.model, below(WEIGHTS), resume.file)
        optimisers.restore(self.optimiser, below(OPTIMISER), resume.file)
        self.epoch, self.step = resume.epoch, resume.step
        self.sums = {
            name: torch.tensor(value, dtype=torch.float64, device=self.device)
            for name, value in resume.sums.items()
        }


def _pieces(batch: Any, size: int | None) -> list[Any]:
    if size is None or len(_leading(batch)) <= size:
        return [batch]
    count = len(_leading(batch))
    return [
        pytree.tree_map(lambda leaf, start=start: leaf[start : start + size], batch)
        for start in range(0, count, size)
    ]


def _leading(batch: Any) -> torch.Tensor:
    """A batch's first tensor, whose length is the number of examples."""
    first: torch.Tensor = next(leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, torch.Tensor))
    return first


def _words(epoch: Epoch) -> str:
    shown = [f"lr {epoch.lr:g}"]
    for name, value in epoch.values.items():
        percent = "accuracy" in name
        shown.append(
            f"{name.replace('_', ' ')} {100 * value:.2f} %"
            if percent
            else f"{name.replace('_', ' ')} {value:.4g}"
        )
    return ", ".join(shown)
