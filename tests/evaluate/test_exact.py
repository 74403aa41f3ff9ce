"""Loss at points against closed forms; the network comes back as it was; chance is found and named."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import MODELS, Quadratic, conv_net, images
from torch import nn
from torch.utils.data import DataLoader

from lsweep.data import from_object
from lsweep.errors import DataError, InputError, ModelError
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.kernels import folding, fusion
from lsweep.evaluate.objective import Supervised, check_labels, cross_entropy
from lsweep.models.parameters import weight_space


class Cramped(nn.Module):
    """A linear network in a memory that holds so many examples, and less from a given pass on."""

    def __init__(self, room: int, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.room, self.error = room, error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.room:
            raise self.error()
        return self.inner(x)


POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [-0.5, 2.0], [0.3, -0.7]])
CLASSES = Supervised(cross_entropy)


def quadratic(model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
    return {"loss": model(batch)}


def drawn(model: nn.Module, axes: int = 2, space: str = "weights") -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    entries = weight_space(model, space).entries
    return [[torch.randn(e.shape, generator=generator) for e in entries] for _ in range(axes)]


@contextmanager
def evaluator_of(
    model: nn.Module, data: Any, objective: Any = CLASSES, *, space: str = "weights", **settings: Any
) -> Iterator[ExactEvaluator]:
    splits = data if isinstance(data, dict) and "train" in data else {"train": data}
    examples = {name: from_object(split) for name, split in splits.items()}
    directions = settings.pop("directions", None) or drawn(model, 2, space)
    with exact_evaluator(
        model, examples, objective, weight_space(model, space), directions, **settings
    ) as evaluator:
        yield evaluator


def moved(model: nn.Module, point: np.ndarray, directions: list[list[torch.Tensor]]) -> nn.Module:
    """A copy at a point, made the plain way."""
    there = copy.deepcopy(model)
    with torch.no_grad():
        for index, parameter in enumerate(there.parameters()):
            for coordinate, direction in zip(point, directions, strict=True):
                parameter += float(coordinate) * direction[index]
    return there.eval()


def plain_loss(model: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, float]:
    with torch.no_grad():
        output = model(data[0])
    return F.cross_entropy(output, data[1]).item(), (output.argmax(1) == data[1]).float().mean().item()


@pytest.mark.parametrize("batch_size", [1, 4, 5, 100])
def test_a_quadratic_is_one_to_the_last_digits(batch_size: int) -> None:
    model, x = Quadratic(), torch.randn(9, 4, 2, dtype=torch.float64)
    directions = drawn(model)
    w, d, e = (t.detach().double() for t in (model.w, directions[0][0], directions[1][0]))
    with evaluator_of(
        model, x, quadratic, dtype=torch.float64, directions=directions, batch_size=batch_size
    ) as evaluator:
        got = evaluator.evaluate(POINTS).values
    expected = [[float(0.5 * ((w + a * d + b * e - x) ** 2).sum((1, 2)).mean())] for a, b in POINTS.tolist()]
    np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 5, 12, 99])
def test_equals_a_plain_loop(batch_size: int) -> None:
    model, data = conv_net(), images()
    directions = drawn(model)
    with evaluator_of(
        model, data, directions=directions, batch_size=batch_size, check=check_labels
    ) as evaluator:
        assert evaluator.names == ("loss", "accuracy")
        got = evaluator.evaluate(POINTS)
    expected = [plain_loss(moved(model, point, directions), data) for point in POINTS]
    np.testing.assert_allclose(got.values, expected, rtol=1e-5)
    assert got.seconds.shape == (4,) and (got.seconds > 0).all()


def test_points_do_not_depend_on_one_another() -> None:
    with evaluator_of(conv_net(), images()) as evaluator:
        together = evaluator.evaluate(POINTS).values
        alone = [evaluator.evaluate(point[None]).values[0] for point in POINTS[::-1]][::-1]
    assert np.array_equal(together, alone)


def test_fp64_has_more_digits_than_fp32() -> None:
    model, data = conv_net(), images()
    directions = drawn(model)
    with evaluator_of(model, data, dtype=torch.float64, directions=directions) as evaluator:
        double = evaluator.evaluate(POINTS).values[:, 0]
    with evaluator_of(model, data, directions=directions) as evaluator:
        single = evaluator.evaluate(POINTS).values[:, 0]
    wide = copy.deepcopy(model).double()
    exact = [
        plain_loss(
            moved(wide, p, [[t.double() for t in d] for d in directions]), (data[0].double(), data[1])
        )[0]
        for p in POINTS
    ]
    np.testing.assert_allclose(double, exact, rtol=1e-13)
    assert 0 < np.abs(single - double).max() < 1e-4


def everything(model: nn.Module) -> dict[str, Any]:
    """What a sweep must leave: objects, addresses, bits, modes, gradients, buffers."""
    return {
        "parameters": [
            (id(p), p.data_ptr(), p.stride(), p.dtype, p.requires_grad) for p in model.parameters()
        ],
        "bits": [p.detach().clone() for p in model.parameters()],
        "grads": [
            (id(p.grad), None if p.grad is None else (p.grad.dtype, p.grad.sum().item()))
            for p in model.parameters()
        ],
        "buffers": [
            (name, id(b), b.data_ptr(), b.double().sum().item()) for name, b in model.named_buffers()
        ],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) for m in model.modules()],
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    bits = zip(one.pop("bits"), other.pop("bits"), strict=True)
    return all(torch.equal(a, b) for a, b in bits) and one == other


def lived_in() -> nn.Module:
    model = conv_net().train()
    model[1].eval()
    model[5].weight.requires_grad_(False)
    model[0].weight.data = model[0].weight.data.to(memory_format=torch.channels_last)
    model[0].bias.grad = torch.ones(4)
    model[0].bias.data[0] = -0.0
    return model


class Fails(Exception):
    pass


def failing(model: nn.Module, batch: Any) -> Any:
    raise Fails


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("space", ["weights", "states"])
@pytest.mark.parametrize("when", ["never", "dry run", "inside"])
def test_the_network_comes_back(dtype: torch.dtype, space: str, when: str) -> None:
    model = lived_in()
    before = everything(model)
    try:
        objective = failing if when == "dry run" else CLASSES
        with evaluator_of(model, images(), objective, space=space, dtype=dtype) as evaluator:
            evaluator.evaluate(POINTS)
            if when == "inside":
                raise Fails
    except Fails:
        assert when != "never"
    assert same(before, everything(model))


def test_non_contiguous_parameters() -> None:
    model = nn.Linear(4, 3)
    model.weight.data = torch.randn(4, 3).t()
    data, directions = (torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])), drawn(model)
    with evaluator_of(model, data, directions=directions) as evaluator:
        got = evaluator.evaluate(POINTS).values
    expected = [plain_loss(moved(model, point, directions), data) for point in POINTS]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_tied_parameters_move_once() -> None:
    model, data = MODELS["tied"](), (torch.arange(7), torch.arange(7))
    directions = drawn(model)
    with evaluator_of(model, data, directions=directions) as evaluator:
        got = evaluator.evaluate(POINTS).values
    assert model.output.weight is model.embedding.weight
    np.testing.assert_allclose(
        got, [plain_loss(moved(model, p, directions), data) for p in POINTS], rtol=1e-5
    )


def test_two_splits() -> None:
    model, train, test = conv_net(), images(12), images(5)
    with evaluator_of(model, {"train": train, "test": test}) as evaluator:
        assert evaluator.names == ("loss", "accuracy", "loss_test", "accuracy_test")
        both = evaluator.evaluate(POINTS[:1]).values[0]
    np.testing.assert_allclose(both, [*plain_loss(model, train), *plain_loss(model, test)], rtol=1e-5)


@pytest.mark.parametrize(("scale", "expected"), [(torch.inf, torch.nan), (1e38, torch.inf)])
def test_a_loss_that_is_no_number_is_a_result_with_an_accuracy(scale: float, expected: float) -> None:
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.eye(2)
    data = (torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    direction = [torch.tensor([[1.0, 0.0], [0.0, 0.0]]) * min(scale, 3e38)]
    factor = 10.0 if scale == torch.inf else 2.0  # beyond the largest float32, or within it
    with evaluator_of(model, data, directions=[direction]) as evaluator:
        loss, accuracy = evaluator.evaluate(np.array([[factor]])).values[0]
    assert not np.isfinite(loss) or loss > 1e37
    assert accuracy == 0.5


def weighted(model: nn.Module, batch: Any) -> dict[str, Any]:
    """A dict batch, weights, a bare tensor of values."""
    losses = F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")
    return {"loss": (losses, batch["weight"]), "largest": losses.exp()}


def test_objective_with_weights_and_dict_batches() -> None:
    (x, y), weight = images(11), torch.tensor([1.0, 0, 2, 0.5, 1, 0, 0, 3, 1, 1, 0])
    model = conv_net()
    with evaluator_of(model, {"x": x, "y": y, "weight": weight}, weighted, batch_size=3) as evaluator:
        assert evaluator.names == ("loss", "largest")
        loss, largest = evaluator.evaluate(POINTS[:1]).values[0]
    losses = F.cross_entropy(model(x), y, reduction="none").detach()
    assert loss == pytest.approx(((losses * weight).sum() / weight.sum()).item(), rel=1e-6)
    assert largest == pytest.approx(losses.exp().mean().item(), rel=1e-6)


@pytest.mark.parametrize("ignored", [torch.nan, torch.inf])
def test_examples_of_no_weight_have_no_say(ignored: float) -> None:
    def objective(model: nn.Module, batch: Any) -> dict[str, Any]:
        values = torch.tensor([1.0, ignored, 3.0]) + 0 * model.weight.sum()
        return {"loss": (values, torch.tensor([1.0, 0.0, 1.0]))}

    with evaluator_of(
        nn.Linear(1, 1), torch.ones(3, 1), objective, directions=[[torch.ones(1, 1), torch.ones(1)]]
    ) as evaluator:
        assert evaluator.evaluate(np.zeros((1, 1))).values.tolist() == [[2.0]]


def test_ragged_batches_of_a_loader() -> None:
    x, y = images(12)
    cut = [(x[:5], y[:5]), (x[5:6], y[5:6]), (x[6:], y[6:])]
    loader: Any = DataLoader(cut, batch_size=None)
    model = conv_net()
    with evaluator_of(model, loader) as evaluator:
        got = evaluator.evaluate(POINTS[:1]).values[0]
    np.testing.assert_allclose(got, plain_loss(model, (x, y)), rtol=1e-6)


def test_negative_variance() -> None:
    model = conv_net()
    entries = weight_space(model, "states").entries
    shrink = [-torch.ones(e.shape) if e.name == "1.running_var" else torch.zeros(e.shape) for e in entries]
    with evaluator_of(
        model, {"train": images(), "test": images(4)}, space="states", directions=[shrink]
    ) as evaluator:
        values = evaluator.evaluate(np.array([[0.0], [2.0], [3.0]])).values
    assert (
        np.isfinite(values[0]).all()
        and np.isnan(values[1:, [0, 2]]).all()
        and np.isfinite(values[:, [1, 3]]).all()
    )
    assert len(evaluator.notes) == 1 and list(evaluator.notes.values()) == [2]


class Stubborn(nn.Module):
    """Holds `make()` and does not let it be put into evaluation mode."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def train(self, mode: bool = True) -> Stubborn:
        super().train(mode)
        self.inner.train()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Functional(nn.Module):
    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(F.dropout(x, inplace=self.inplace))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Stubborn(nn.Dropout(0.5)), r"6\.inner \(Dropout\)"),
        (lambda: Stubborn(nn.Dropout(0.5, inplace=True)), r"6\.inner \(Dropout\)"),
        (lambda: Functional(False), r"6 \(Functional\)"),
        (lambda: Functional(True), r"6 \(Functional\)"),
    ],
)
def test_chance_is_refused_by_name(make: Callable[[], nn.Module], named: str) -> None:
    model = nn.Sequential(*conv_net(), make())
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    with (
        pytest.raises(ModelError, match=f"{named} is random in evaluation mode"),
        evaluator_of(model, images()),
    ):
        pass
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]


def test_chance_in_the_objective() -> None:
    with (
        pytest.raises(ModelError, match="the objective is random"),
        evaluator_of(Quadratic(), torch.zeros(3, 4, 2), lambda m, b: {"loss": m(b) + torch.rand(3)}),
    ):
        pass


def test_dropout_in_evaluation_mode_is_fine() -> None:
    with evaluator_of(nn.Sequential(*conv_net(), nn.Dropout(0.5)).train(), images()) as evaluator:
        evaluator.evaluate(POINTS)


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({"los": torch.ones(3)}, '"loss" among them'),
        (torch.ones(3), "mapping of names"),
        ({"loss": torch.tensor(1.0)}, r"'loss' must give one value per example, shape \(B,\); got \(\)"),
        ({"loss": torch.ones(3, 1)}, r"got \(3, 1\)"),
        ({"loss": 1.0}, "got float"),
        ({"loss": (torch.ones(3), torch.ones(2))}, r"values of shape \(3,\) but weights of \(2,\)"),
        ({"loss": (torch.ones(3), 2.0)}, "weights of float"),
        ({"loss": (torch.ones(3), None, None)}, "got tuple"),
    ],
)
def test_objectives_that_are_none(measured: Any, said: str) -> None:
    with (
        pytest.raises(InputError, match=said),
        evaluator_of(Quadratic(), torch.zeros(3, 4, 2), lambda m, b: measured),
    ):
        pass


def test_unfit_data_is_refused_before_anything_else() -> None:
    model = conv_net()
    before = everything(model)
    with (
        pytest.raises(DataError, match="labels run from 0 to 9"),
        evaluator_of(model, (torch.randn(2, 3, 6, 5), torch.tensor([0, 9])), check=check_labels),
    ):
        pass
    assert same(before, everything(model))


def test_a_buffer_that_appears_in_the_forward_pass_does_not_stay() -> None:
    class Caches(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.register_buffer("cache", x.mean(), persistent=False)
            return super().forward(x)

    model = nn.Sequential(nn.Flatten(), Caches(90, 3))
    with evaluator_of(model, images()) as evaluator:
        evaluator.evaluate(POINTS)
    assert not list(model.buffers())


SHORTAGES: dict[str, Callable[[], Exception]] = {
    "device": lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "host": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "python": MemoryError,
}


@pytest.mark.parametrize("shortage", SHORTAGES)
def test_a_batch_too_large_for_the_memory_is_halved(shortage: str, caplog: pytest.LogCaptureFixture) -> None:
    """From the point on where memory became short; each point says which size it was evaluated with."""
    torch.manual_seed(0)
    model = Cramped(100, SHORTAGES[shortage])
    data = torch.randn(37, 4), torch.randint(0, 3, (37,))
    with evaluator_of(model, data, batch_size=32) as evaluator:
        whole = evaluator.evaluate(POINTS[:2])
        model.room = 9
        short = evaluator.evaluate(POINTS)
    assert whole.columns["batch_size"].tolist() == [32, 32]
    assert short.columns["batch_size"].tolist() == [8, 8, 8, 8]
    np.testing.assert_allclose(short.values[:2], whole.values, rtol=1e-6)
    halvings = [r.getMessage() for r in caplog.records if "halved" in r.getMessage()]
    assert halvings == [f"out of memory with batches of {n} examples: the size is halved" for n in (32, 16)]


def test_short_of_memory_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    model = Cramped(5, SHORTAGES["device"])
    data = torch.randn(12, 4), torch.randint(0, 3, (12,))
    with evaluator_of(model, data, batch_size=12) as evaluator:
        assert evaluator.evaluate(POINTS).columns["batch_size"].tolist() == [3] * 4


def test_not_one_example_fits() -> None:
    model = Cramped(0, SHORTAGES["device"])
    data = torch.randn(12, 4), torch.randint(0, 3, (12,))
    with (
        pytest.raises(torch.cuda.OutOfMemoryError),
        evaluator_of(model, data, batch_size=12),
    ):
        pass


def test_other_errors_are_not_mended_with_smaller_batches() -> None:
    model = Cramped(5, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    data = torch.randn(12, 4), torch.randint(0, 3, (12,))
    with pytest.raises(RuntimeError, match="mat1"), evaluator_of(model, data, batch_size=12):
        pass


def clamping(conv: nn.Conv2d, inputs: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
    """As fused kernels may do it: an infinity becomes the largest number."""
    output = conv(inputs) if other is None else conv(inputs) + other
    return output.clamp(0.0, torch.finfo(output.dtype).max)


@contextmanager
def fused(monkeypatch: pytest.MonkeyPatch, kernel: Any) -> Iterator[ExactEvaluator]:
    """An evaluator of a folded network whose convolutions run by this kernel."""
    monkeypatch.setattr(fusion, "is_faster", lambda *_: True)
    monkeypatch.setattr(fusion, "_KERNELS", {"cpu": kernel})
    torch.manual_seed(0)
    model = conv_net()
    space = weight_space(model)
    directions = [[torch.randn(p.shape) for p in model.parameters()] for _ in range(2)]
    directions = [[d * (p.dim() > 1) for d, p in zip(a, model.parameters(), strict=True)] for a in directions]
    made = folding.fold(model, space, directions)
    data = from_object((torch.randn(20, 3, 6, 5), torch.arange(20) % 3))
    moves = [made.direction(direction) for direction in directions]
    with exact_evaluator(
        made.model, {"train": data}, Supervised(cross_entropy), made.space, moves
    ) as evaluator:
        yield evaluator


FAR = np.array([[0.1, 0.2], [1e38, 1e38], [-0.3, 0.1]])


def test_a_point_that_overflows_is_evaluated_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    with fused(monkeypatch, clamping) as evaluator:
        assert evaluator.is_fused
        found = evaluator.evaluate(FAR).values
        with evaluator.in_steps():
            steps = evaluator.evaluate(FAR).values
        assert evaluator.is_fused
    np.testing.assert_allclose(found, steps, rtol=1e-5, equal_nan=True)
    assert not np.isfinite(steps[1, 0]) and np.isfinite(steps[[0, 2]]).all()


def test_fused_kernels_that_do_not_repeat_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsteady(conv: nn.Conv2d, inputs: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        return clamping(conv, inputs, other) * (1 + 1e-6 * torch.rand(()))

    with fused(monkeypatch, unsteady) as evaluator:
        assert not evaluator.is_fused
        assert evaluator.evaluate(FAR).values.tobytes() == evaluator.evaluate(FAR).values.tobytes()
