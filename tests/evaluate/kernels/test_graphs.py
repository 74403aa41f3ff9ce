"""Replays of recorded batches: the logic by a stand-in for the recorder; the real one where there is a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from small_models import conv_net, images
from torch import nn
from torch.utils import _pytree as pytree

from lsweep.data import from_object
from lsweep.evaluate.exact import exact_evaluator
from lsweep.evaluate.kernels.graphs import Measure, Measured, Replay, cuda_capture
from lsweep.evaluate.objective import Supervised, cross_entropy
from lsweep.models.parameters import weight_space


class Recorder:
    """Keeps addresses as a graph does: reads its input where the batch was, writes its output where it came out."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, measure: Measure, batch: Any) -> tuple[Callable[[], None], Measured]:
        output: Any = pytree.tree_map_only(torch.Tensor, torch.clone, dict(measure(batch)))
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            found = pytree.tree_leaves(dict(measure(batch)))
            for there, here in zip(pytree.tree_leaves(output), found, strict=True):
                if isinstance(here, torch.Tensor):
                    there.copy_(here)

        return replay, output


def double(batch: Any) -> dict[str, torch.Tensor]:
    return {"loss": 2 * batch[0] + batch[1]}


def batch(count: int, start: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(start, start + count), torch.ones(count)


def test_full_batches_are_replayed_and_short_ones_are_not() -> None:
    recorder = Recorder()
    replay = Replay(double, recorder)
    for start in (0.0, 10.0, 20.0, 30.0):
        assert torch.equal(replay(batch(4, start), 4)["loss"], 2 * batch(4, start)[0] + 1)
    assert torch.equal(replay(batch(3, 7.0), 4)["loss"], torch.tensor([15.0, 17.0, 19.0]))
    assert (recorder.recorded, recorder.replayed) == (1, 4)


def test_weights_move_under_a_recording() -> None:
    weight, recorder = torch.ones(1), Recorder()
    replay = Replay(lambda some: {"loss": weight * some[0]}, recorder)
    for value in (1.0, 2.0, 3.0):
        weight.fill_(value)
        assert torch.equal(replay(batch(4), 4)["loss"], value * torch.arange(4.0))
    assert recorder.recorded == 1


def test_another_size_is_another_recording() -> None:
    recorder = Recorder()
    replay = Replay(double, recorder)
    for size in (4, 4, 2, 2):
        assert torch.equal(replay(batch(size), size)["loss"], 2 * torch.arange(float(size)) + 1)
    assert recorder.recorded == 2


def test_what_cannot_be_recorded_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def refusing(measure: Measure, some: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    replay = Replay(double, refusing)
    with caplog.at_level(logging.INFO, "lsweep"):
        for _ in range(3):
            assert torch.equal(replay(batch(4), 4)["loss"], 2 * torch.arange(4.0) + 1)
    assert [r.message for r in caplog.records] == [
        "CUDA graphs are not used: RuntimeError: operation not permitted when stream is capturing"
    ]


def test_a_recording_that_remembers_its_first_batch_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    def frozen(measure: Measure, some: Any) -> tuple[Callable[[], None], Measured]:
        return (lambda: None), measure(some)

    replay = Replay(double, frozen)
    with caplog.at_level(logging.INFO, "lsweep"):
        for start in (0.0, 10.0, 20.0):
            assert torch.equal(replay(batch(4, start), 4)["loss"], 2 * batch(4, start)[0] + 1)
    assert [r.message for r in caplog.records] == [
        "CUDA graphs are not used: a replay gave different values from the network"
    ]


@pytest.mark.parametrize(
    "some", [(torch.ones(2), "text"), (torch.ones(2), torch.tensor(1.0)), [], {"x": torch.ones(2), "n": 3}]
)
def test_only_tensors_are_recorded(some: Any) -> None:
    recorder = Recorder()
    assert Replay(lambda given: {"loss": torch.ones(2)}, recorder)(some, 2)["loss"].tolist() == [1.0, 1.0]
    assert recorder.recorded == 0


def test_values_that_are_no_numbers_are_the_same() -> None:
    recorder = Recorder()
    replay = Replay(lambda some: {"loss": some[0] * torch.nan}, recorder)
    for _ in range(3):
        assert replay(batch(2), 2)["loss"].isnan().all()
    assert recorder.replayed == 3


class Reading(nn.Module):
    """The host reads a value of it in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = conv_net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y if bool(y.sum() > 0) else y + 0


@pytest.mark.parametrize("make", [conv_net, Reading])
def test_the_evaluator_gives_the_same_bits_with_and_without(make: Callable[[], nn.Module]) -> None:
    """On a GPU by the real recorder; else by the stand-in, which cannot refuse what a GPU would."""
    on_gpu = torch.cuda.is_available()
    torch.manual_seed(0)
    model, recorder = make(), Recorder()
    directions = [[torch.randn(p.shape) for p in model.parameters()] for _ in range(2)]
    points = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    with exact_evaluator(
        model,
        {"train": from_object(images(11))},
        Supervised(cross_entropy),
        weight_space(model),
        directions,
        device="cuda" if on_gpu else "cpu",
        batch_size=4,
    ) as evaluator:
        evaluator.capture(None)
        plain = evaluator.evaluate(points).values
        evaluator.capture(cuda_capture if on_gpu else recorder)
        replayed = evaluator.evaluate(points).values
    assert plain.tobytes() == replayed.tobytes()
    assert on_gpu or (recorder.recorded, recorder.replayed) == (1, 10)


def test_on_the_cpu_nothing_is_recorded() -> None:
    model = nn.Linear(4, 3)
    data = from_object((torch.randn(6, 4), torch.arange(6) % 3))
    directions = [[torch.ones(3, 4), torch.ones(3)]]
    with exact_evaluator(
        model, {"train": data}, Supervised(cross_entropy), weight_space(model), directions
    ) as net:
        assert net._replay is None
