"""`lsweep.sweep` of networks in memory against a plain loop of its own."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import Quadratic, conv_net, images
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lsweep
from lsweep import Axis, Grid, Status, Surface
from lsweep.comm import SerialComm
from lsweep.config import DirectionsConfig
from lsweep.errors import ConfigError, DataError, DirectionsError, IdentityError, InputError

GRID = Grid(Axis(-1, 1, 3), Axis(-0.5, 0.5, 5))


def swept(model: nn.Module, data: Any, **settings: Any) -> Surface:
    surface = lsweep.sweep(model, data, **{"grid": GRID, "comm": SerialComm(), "device": "cpu", **settings})
    assert surface is not None and surface.complete
    return surface


def drawn(model: nn.Module, axes: int = 2) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [[torch.randn(p.shape, generator=generator) for p in model.parameters()] for _ in range(axes)]


def plain_surface(model: nn.Module, data: Any, directions: Any, grid: Grid = GRID) -> dict[str, np.ndarray]:
    """The user's own double loop, y outside."""
    found = []
    for y in grid.y.values if grid.y else [0.0]:
        for x in grid.x.values:
            there = copy.deepcopy(model).eval()
            with torch.no_grad():
                for p, *d in zip(there.parameters(), *directions, strict=True):
                    p += sum(float(c) * step for c, step in zip((x, y), d, strict=False))
                output = there(data[0])
            right = (output.argmax(1) == data[1]).float().mean().item()
            found.append((F.cross_entropy(output, data[1]).item(), right))
    values = np.array(found).T.reshape(2, *grid.shape)
    return {"loss": values[0], "accuracy": values[1]}


def agree(surface: Surface, expected: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(surface.loss, expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(surface.accuracy, expected["accuracy"], rtol=1e-6)


FORMS = {
    "tensors": lambda x, y: (x, y),
    "arrays": lambda x, y: (x.numpy(), y.numpy()),
    "dataset": TensorDataset,
    "list": lambda x, y: list(zip(x, y.tolist(), strict=True)),
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=5),
    "shuffled": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True, drop_last=True),
    "own batches": lambda x, y: DataLoader([(x[:2], y[:2]), (x[2:], y[2:])], batch_size=None),
}


@pytest.mark.parametrize("form", FORMS)
def test_equals_a_plain_loop(form: str) -> None:
    model, data = conv_net(), images()
    directions = drawn(model)
    agree(
        swept(model, FORMS[form](*data), directions=directions, batch_size=5),
        plain_surface(model, data, directions),
    )


def test_folded_and_not_are_the_same() -> None:
    model, data = conv_net(), images()
    folded = swept(model, data, directions={"seed": 3})
    plain = swept(
        model, data, directions={"seed": 3}, loss=lambda o, t: F.cross_entropy(o, t, reduction="none")
    )
    np.testing.assert_allclose(folded.loss, plain.loss, rtol=1e-6)


def test_fp64_is_not_rounded_by_folding() -> None:
    model, data = conv_net(), images()
    directions = [
        [d if i not in (2,) else torch.zeros_like(d) for i, d in enumerate(ds)] for ds in drawn(model)
    ]
    surface = swept(model, data, directions=directions, precision="fp64")
    wide = [[d.double() for d in direction] for direction in directions]
    exact = plain_surface(copy.deepcopy(model).double(), (data[0].double(), data[1]), wide)
    np.testing.assert_allclose(surface.loss, exact["loss"], rtol=1e-12)


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_network_in_float64(precision: str) -> None:
    model, data = conv_net().double(), images()
    surface = swept(model, data, precision=precision)
    assert np.isfinite(surface.loss).all() and model[0].weight.dtype == torch.float64


def test_the_network_comes_back() -> None:
    model = conv_net().train()
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = [(id(t), t.data_ptr(), t.clone()) for t in model.state_dict(keep_vars=True).values()]
    modes = [m.training for m in model.modules()]
    generator = torch.get_rng_state()
    for settings in (
        {},
        {"precision": "fp64"},
        {"directions": {"space": "states", "bias_bn": "copy", "seed": 1}},
    ):
        swept(model, images(), **settings)
    after = [(id(t), t.data_ptr(), t) for t in model.state_dict(keep_vars=True).values()]
    assert all(a[:2] == b[:2] and torch.equal(a[2], b[2]) for a, b in zip(before, after, strict=True))
    assert modes == [m.training for m in model.modules()] and torch.equal(generator, torch.get_rng_state())
    assert model[0].weight.grad is not None and model[0].weight.grad.dtype == torch.float32


def test_a_line_and_a_box() -> None:
    model, data = conv_net(), images()
    line = swept(model, data, grid={"x": {"num": 4}}, directions=drawn(model, 1))
    agree(line, plain_surface(model, data, drawn(model, 1), Grid(Axis(num=4))))
    box = swept(model, data, grid={a: {"num": n} for a, n in zip("xyz", (2, 3, 4), strict=True)})
    assert line.shape == (4,) and box.shape == (4, 3, 2) and box.ndim == 3
    # z is the third direction of the same seed: one corner, by hand
    plane = swept(model, data, grid={"x": {"num": 2}, "y": {"num": 3}, "z": {"min": 1.0, "num": 1}})
    assert np.array_equal(plane.loss[0], box.loss[-1])


@pytest.mark.parametrize(
    "grid", [3, np.int64(3), {"x": {"num": 3}, "y": {"num": 3}}, Grid(Axis(num=3), Axis(num=3))]
)
def test_grids(grid: Any) -> None:
    surface = swept(nn.Linear(2, 2), (torch.ones(2, 2), torch.tensor([0, 1])), grid=grid)
    assert surface.shape == (3, 3) and surface.x.tolist() == surface.y.tolist() == [-1, 0, 1]


def test_recipes_are_the_same_however_they_are_given() -> None:
    model, data = conv_net(), images()
    one = swept(model, data, directions={"seed": 4, "bias_bn": "copy"})
    two = swept(model, data, directions=DirectionsConfig(seed=4, bias_bn="copy"))
    assert np.array_equal(one.loss, two.loss) and not np.array_equal(one.loss, swept(model, data).loss)


def test_the_user_s_loss_and_metrics() -> None:
    model, data = conv_net(), images()
    surface = swept(
        model,
        data,
        loss=lambda output, target: output.sum(1),
        metrics={"top": lambda output, target: output.max(1).values},
    )
    assert list(surface.metrics) == ["loss", "accuracy", "top"]
    output = model(data[0]).detach()
    assert surface.loss[2, 1] == pytest.approx(output.sum(1).mean().item(), rel=1e-5)
    assert surface.metrics["top"][2, 1] == pytest.approx(output.max(1).values.mean().item(), rel=1e-5)


def test_the_user_s_objective() -> None:
    model, x = Quadratic(), torch.randn(7, 4, 2)
    surface = swept(
        model, x, objective=lambda m, batch: {"loss": m(batch)}, precision="fp64", directions=drawn(model)
    )
    (d,), (e,) = drawn(model)
    w = model.w.detach().double() + 1.0 * d.double() - 0.5 * e.double()
    assert surface.loss[0, 2] == pytest.approx(
        float(0.5 * ((w - x.double()) ** 2).sum((1, 2)).mean()), rel=1e-12
    )


def test_two_splits() -> None:
    model, train, test = conv_net(), images(12), images(5)
    directions = drawn(model)
    surface = swept(model, train, test_data=test, directions=directions)
    agree(surface, plain_surface(model, train, directions))
    np.testing.assert_allclose(
        surface.metrics["loss_test"], plain_surface(model, test, directions)["loss"], rtol=1e-5
    )


def test_output_is_written_and_resumed(tmp_path: Path) -> None:
    model, data, output = conv_net(), images(), tmp_path / "o.h5"
    first = swept(model, data, output=output)
    read = lsweep.open(output)
    assert np.array_equal(first.loss, read.loss) and read.count(Status.DONE) == 15
    again = swept(model, data, output=str(output))
    assert np.array_equal(again.loss, read.loss) and np.array_equal(again.seconds, read.seconds)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"directions": {"seed": 1}}, "directions"),
        ({"grid": 4}, "axes"),
        ({"loss": "mse_softmax"}, "loss"),
        ({"precision": "fp64"}, "precision"),
        ({"batch_size": 2}, "batch_size"),
        ({"metrics": {"top": lambda o, t: o.max(1).values}}, "top"),
    ],
)
def test_another_sweep_s_output_is_refused(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    model, data = conv_net(), images()
    swept(model, data, output=tmp_path / "o.h5")
    with pytest.raises(InputError, match=field):
        swept(model, data, output=tmp_path / "o.h5", **change)
    with pytest.raises(IdentityError, match="weights"):
        swept(conv_net(), data, output=tmp_path / "o.h5")


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"directions": [drawn(nn.Linear(2, 2))[0]]}, ConfigError, "2 axes needs as many directions, got 1"),
        ({"directions": [[torch.ones(2, 2)], [torch.ones(2, 2)]]}, DirectionsError, "1 tensors"),
        ({"directions": [[torch.ones(3, 2), torch.ones(2)]] * 2}, DirectionsError, r"weight has \(2, 2\)"),
        ({"directions": "random"}, ConfigError, "must be a recipe or"),
        ({"directions": 5}, ConfigError, "must be a recipe or"),
        ({"directions": {"sed": 3}}, ConfigError, "did you mean 'seed'"),
        ({"grid": 0}, ConfigError, "num >= 1"),
        ({"grid": {"x": {"nun": 3}}}, ConfigError, "did you mean 'num'"),
        ({"loss": "mae"}, ConfigError, "unknown loss 'mae'"),
        ({"precision": "bf17"}, ConfigError, "fp32, fp64"),
        ({"batch_size": 0}, ConfigError, "batch_size"),
        ({"certificate": 3}, ConfigError, "a certificate is stored in the output file; give an output"),
        ({"certificate": -1}, ConfigError, "evaluate.certificate must be >= 0, got -1"),
        (
            {"overrides": {"evaluate.loss": "mse"}},
            ConfigError,
            "evaluate.loss is an argument of sweep; pass loss instead",
        ),
        ({"overrides": {"evaluate.relative_eror": 0.1}}, ConfigError, "did you mean 'relative_error'"),
        ({"overrides": {"grid.x": {}}}, ConfigError, "evaluate, curvature, schedule, store; got 'grid.x'"),
        ({"overrides": {"tile": 2}}, ConfigError, "a key is TABLE.NAME"),
        ({"overrides": {"store.sync_seconds": "5"}}, ConfigError, "store.sync_seconds must be a number"),
        ({"device": "tpu9"}, ConfigError, "unknown device 'tpu9'"),
        (
            {"objective": lambda m, b: {}, "metrics": {"a": abs}},
            ConfigError,
            "cannot be combined with an objective",
        ),
    ],
)
def test_refusals(settings: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        swept(nn.Linear(2, 2), (torch.ones(2, 2), torch.tensor([0, 1])), **settings)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            (torch.randn(4, 1, 6, 5), torch.zeros(4).long()),
            r"cannot take a batch of this data, input \(4, 1, 6, 5\)",
        ),
        ((torch.randn(4, 3, 6, 5), torch.arange(4)), "labels run from 0 to 3, but the network has 3"),
        ((torch.randn(4, 3, 6, 5), torch.zeros(3).long()), "number of examples"),
        ({"x": torch.randn(4, 3, 6, 5)}, "must be .input, target."),
    ],
)
def test_data_that_do_not_fit_a_foldable_network(data: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        swept(conv_net(), data)


def test_a_network_without_parameters() -> None:
    with pytest.raises(InputError, match="no parameters"):
        swept(nn.Flatten(), images())


def test_a_binary_classifier_with_one_output() -> None:
    def bce(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(output[:, 0], target.float(), reduction="none")

    data = (torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0]))
    surface = swept(nn.Linear(2, 1), data, loss=bce)
    assert np.isfinite(surface.loss).all() and np.isnan(surface.accuracy).all()


def test_a_refined_grid(tmp_path: Path) -> None:
    model, data = conv_net(), images()
    line = {"x": {"min": -0.2, "max": 0.2, "num": 65}}
    full = swept(model, data, grid=line)
    refined = swept(model, data, grid=line | {"refine": {"tolerance": 0.05}}, output=tmp_path / "o.h5")
    assert refined.settled.sum() > 10
    assert np.array_equal(refined.loss[refined.done], full.loss[refined.done])
    np.testing.assert_allclose(refined.filled(), full.loss, rtol=0.05)
    with pytest.raises(IdentityError, match=r"refine"):
        swept(model, data, grid=line, output=tmp_path / "o.h5")
    with pytest.raises(IdentityError, match=r"refine.tolerance is 0.05, this one's is 0.01"):
        swept(model, data, grid=line | {"refine": {"tolerance": 0.01}}, output=tmp_path / "o.h5")


def test_a_certificate(tmp_path: Path) -> None:
    model, data = conv_net(), images()
    surface = swept(model, data, output=tmp_path / "o.h5", certificate=4)
    made = surface.certificate
    assert made is not None and len(made) == 4 and (made.relative_error("loss") == 0).all()
    plain = swept(model, data)
    assert np.array_equal(plain.loss.reshape(-1)[made.points], made.full["loss"])


def test_overrides_reach_what_has_no_argument(tmp_path: Path) -> None:
    overrides = {
        "evaluate.relative_error": 0.2,
        "evaluate.least_examples": 20,
        "evaluate.fold_batchnorm": False,
        "schedule.tile": 3,
        "store.mode": "gather",
    }
    model, data = conv_net(), images(2000)
    surface = swept(model, data, overrides=overrides, output=tmp_path / "o.h5")
    assert surface.columns["examples"].min() < 2000
    assert surface.identity["relative_error"] == 0.2 and not surface.identity["fold_batchnorm"]
    written = tomllib.loads(surface.config)
    assert written["schedule"]["tile"] == 3 and written["store"]["mode"] == "gather"
    np.testing.assert_allclose(surface.loss, swept(model, data).loss, rtol=0.2)


def test_lists_may_be_tuples() -> None:
    model, data = conv_net(), images()
    one, two = (swept(model, data, directions={"exclude": kind(("0.*", "1.*"))}) for kind in (list, tuple))
    assert np.array_equal(one.loss, two.loss) and not np.array_equal(one.loss, swept(model, data).loss)
