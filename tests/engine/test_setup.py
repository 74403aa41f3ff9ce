"""Each step of the set-up by itself: without a store, without MPI."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import project
import pytest
import torch

from lsweep import config as configuration
from lsweep.comm import SerialComm
from lsweep.config import Config
from lsweep.engine import choose, setup
from lsweep.errors import ConfigError, InputError
from lsweep.evaluate.problem import Problem, build, place
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.vectorized import VectorizedEvaluator
from lsweep.models import parameters

ALONE = SerialComm()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return configuration.load("sweep.toml")


@pytest.fixture
def problem(config: Config) -> Problem:
    return build(config, ALONE)


def changed(config: Config, **values: object) -> Config:
    return dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, **values))  # type: ignore[arg-type]


def test_device_and_parameter_space(config: Config, problem: Problem) -> None:
    found = place(config, problem.model, ALONE)
    assert found.device.type == "cpu" and found.dtype == torch.float32
    assert [entry.name for entry in found.space.entries] == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert place(changed(config, precision="fp64"), problem.model, ALONE).dtype == torch.float64
    with pytest.raises(InputError, match="no parameters"):
        place(config, torch.nn.Flatten(), ALONE)


def test_directions_are_the_recipe_s(config: Config, problem: Problem) -> None:
    placement = place(config, problem.model, ALONE)
    agreed = setup.agree_on_directions(config, problem, ALONE, placement, None, None)
    generator = torch.Generator().manual_seed(0)
    drawn = [
        [torch.randn(entry.shape, generator=generator) for entry in placement.space.entries] for _ in "xy"
    ]
    weights = parameters.tensors_of(problem.model, placement.space)
    for direction, raw in zip(agreed.tensors, drawn, strict=True):
        expected = raw[0] * (weights[0].norm(dim=1) / raw[0].norm(dim=1))[:, None]  # filter by filter
        torch.testing.assert_close(direction[0], expected)
        assert not direction[1].any()  # a bias
    assert agreed.hashes == [parameters.sha256(*direction) for direction in agreed.tensors]
    assert agreed.trajectory is None and agreed.stored.hashes == dict(zip("xy", agreed.hashes, strict=True))


def test_directions_that_are_given_are_kept(config: Config, problem: Problem) -> None:
    placement = place(config, problem.model, ALONE)
    given = [[torch.full(entry.shape, value) for entry in placement.space.entries] for value in (1.0, 2.0)]
    agreed = setup.agree_on_directions(config, problem, ALONE, placement, None, given)
    assert agreed.hashes == [parameters.sha256(*direction) for direction in given]
    assert agreed.stored.recipe == {"kind": "explicit"} and set(agreed.stored.tensors) == {"x", "y"}


def test_content_is_known_by_its_hashes(problem: Problem) -> None:
    before = setup.hash_content(problem)
    assert before == setup.hash_content(problem) and set(before.data) == {"train"}
    with torch.no_grad():
        next(problem.model.parameters()).view(-1)[0] += 1e-6
    after = setup.hash_content(problem)
    assert after.weights != before.weights and after.data == before.data


def chosen(config: Config, problem: Problem, stored: dict[str, object] | None = None) -> choose.Choice:
    placement = place(config, problem.model, ALONE)
    agreed = setup.agree_on_directions(config, problem, ALONE, placement, None, None)
    with setup.make_exact(config, problem, placement, agreed.tensors) as exact:
        return choose.choose(config.evaluate, config.grid, problem, ALONE, exact, stored or {})


def test_the_exact_evaluator_gives_the_loss(config: Config, problem: Problem) -> None:
    placement = place(config, problem.model, ALONE)
    agreed = setup.agree_on_directions(config, problem, ALONE, placement, None, None)
    images, labels = next(next(iter(problem.splits.values())).batches(40))
    expected = torch.nn.functional.cross_entropy(problem.model(images), labels).item()
    with setup.make_exact(config, problem, placement, agreed.tensors) as exact:
        assert exact.evaluate(np.zeros((1, 2))).values[0, 0] == pytest.approx(expected, rel=1e-6)


def test_the_choice_of_evaluator(config: Config, problem: Problem) -> None:
    plain = chosen(config, problem)
    assert (plain.precision, plain.batch_size, plain.points_at_once) == ("fp32", 50, 1) and not plain.budget
    sampled = chosen(changed(config, relative_error=0.1, batch_size=20), problem)
    assert isinstance(sampled.evaluator, SampledEvaluator) and sampled.batch_size == 20
    assert sampled.budget["relative_error"] == 0.1 and set(sampled.budget["order"]) == {"train"}
    together = chosen(changed(config, points_at_once=4), problem)
    assert isinstance(together.evaluator, VectorizedEvaluator) and together.points_at_once == 4
    with pytest.raises(ConfigError, match="points_at_once = 4 needs all examples"):
        chosen(changed(config, points_at_once=4, relative_error=0.1), problem)


def test_what_a_file_began_with_is_not_measured_again(config: Config, problem: Problem) -> None:
    auto = changed(config, batch_size="auto", precision="auto", points_at_once="auto")
    stored = {"batch_size": 7, "precision": "bf16", "points_at_once": 1}
    found = chosen(auto, problem, stored)
    assert (found.batch_size, found.precision, found.points_at_once) == (7, "bf16", 1)


def test_the_identity_is_made_of_what_the_steps_found(config: Config, problem: Problem) -> None:
    agreed = setup.Agreed([], ["a", "b"], None, None, ["t"])  # type: ignore[arg-type]
    content = setup.Content("w", {"train": "d"}, "r")
    choice = choose.Choice(None, "bf16", 16, 4, budget={"tolerance": 0.5})  # type: ignore[arg-type]
    found = setup.identify(config, "cross_entropy", content, agreed, choice, {"seed": 0})
    assert found == {
        "batchnorm": "recalibrate",
        "recalibration": "r",
        "weights": "w",
        "directions": {"x": "a", "y": "b"},
        "axes": {"x": [-1.0, 1.0, 5], "y": [-0.5, 1.0, 3]},
        "refine": None,
        "data": {"train": "d"},
        "loss": "cross_entropy",
        "metrics": [],
        "fold_batchnorm": True,
        "trail": ["t"],
        "batch_size": 16,
        "precision": "bf16",
        "tolerance": 0.5,
        "points_at_once": 4,
        "curvature": {"seed": 0},
    }


def test_the_plan(config: Config) -> None:
    plan = setup.make_plan(config, False, 1)
    assert (plan.dynamic, plan.tile, plan.max_failures, plan.patience) == (False, 1, 5, 120.0)
    schedule = dataclasses.replace(config.schedule, kind="dynamic", tile=3, silent_seconds=1.0)
    other = setup.make_plan(dataclasses.replace(config, schedule=schedule), False, 1)
    assert (other.dynamic, other.tile, other.patience) == (True, 3, 15.0)  # three times store.sync_seconds
    assert setup.make_plan(config, False, 8).tile == 8 and setup.make_plan(config, True, 1).dynamic


def test_an_axis_left_to_the_trail_is_closed(config: Config) -> None:
    assert setup.close_axes(config, None) is config


def test_the_whole_set_up_needs_no_file(config: Config, problem: Problem) -> None:
    with setup.prepare(config, problem, ALONE, None) as ready:
        assert ready.mode == "memory" and ready.header.names == ("loss", "accuracy")
        assert ready.header.identity["batch_size"] == ready.header.provenance["batch_size"] == 50
        assert ready.plan.grid == config.grid and ready.evaluator is ready.full
