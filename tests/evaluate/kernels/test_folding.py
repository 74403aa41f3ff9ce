"""Folded = unfolded along whole directions; what cannot be folded exactly is left as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from small_models import conv_net, images, live_in
from torch import nn

from lsweep import models
from lsweep.config import DirectionsConfig
from lsweep.directions import Sources, Tensors, make
from lsweep.evaluate.kernels.folding import Folded, Unfoldable, fold, require_same
from lsweep.models.parameters import WeightSpace, tensors_of, weight_space

POINTS = [(0.0, 0.0), (0.5, -1.0), (-0.7, 0.2)]
NOWHERE = Sources(checkpoint=lambda path: nullcontext({}[path]), file={}.__getitem__)


def drawn(model: nn.Module, config: DirectionsConfig) -> list[Tensors]:
    space = weight_space(model)
    return make(config, "xy", space, [t.detach() for t in tensors_of(model, space)], NOWHERE)


def at(
    model: nn.Module, space: WeightSpace, directions: list[Tensors], point: tuple[float, ...], x: torch.Tensor
) -> torch.Tensor:
    """The output at a point, made the plain way in the dtype of x."""
    there = copy.deepcopy(model).to(x.dtype).eval()
    with torch.no_grad():
        for coordinate, direction in zip(point, directions, strict=True):
            for tensor, d in zip(tensors_of(there, space), direction, strict=True):
                tensor += coordinate * d.to(x.dtype)
        output: torch.Tensor = there(x)
    return output


def assert_same_function(
    model: nn.Module, directions: list[Tensors], x: torch.Tensor, tolerance: float, count: int | None = None
) -> Folded:
    space = weight_space(model)
    folded = fold(model, space, directions, x.dtype)
    along = [folded.direction(direction) for direction in directions]
    assert count is None or len(folded.folds) == count
    for point in POINTS:
        expected = at(model, space, directions, point, x)
        got = at(folded.model, folded.space, along, point, x)
        assert (got - expected).abs().max() <= tolerance * expected.abs().max()
    return folded


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet20", 21),
        ("resnet20_noshort", 19),
        ("resnet20_a", 19),
        ("vgg9", 7),
        ("densenet121", None),
        ("torchvision:resnet18", 20),
    ],
)
def test_whole_networks(name: str, count: int | None, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    model = live_in(models.build(name))
    config = DirectionsConfig(bias_bn="random", exclude=tuple(gammas(model)))
    assert_same_function(
        model, drawn(model, config), torch.randn(2, 3, 32, 32, dtype=dtype), tolerance, count
    )


def gammas(model: nn.Module) -> list[str]:
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return [f"{name}.weight" for name in norms]


def test_a_layer_whose_gamma_moves_is_not_folded() -> None:
    torch.manual_seed(0)
    model = live_in(models.build("resnet20"))
    exclude = tuple(g for g in gammas(model) if g != "layer2.0.bn1.weight")
    directions = drawn(model, DirectionsConfig(bias_bn="random", exclude=exclude))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    folded = assert_same_function(model, directions, x, 1e-10, 20)
    assert "layer2.0.bn1.weight" in [e.name for e in folded.space.entries]


def test_the_original_is_untouched() -> None:
    model = conv_net().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    directions = drawn(model, DirectionsConfig())
    kept = [[d.clone() for d in direction] for direction in directions]
    folded = fold(model, weight_space(model), directions)
    for direction in directions:
        folded.direction(direction)[0].zero_()
    for tensor in folded.model.parameters():
        tensor.data.zero_()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())
    assert all(
        torch.equal(a, b) for x, y in zip(kept, directions, strict=True) for a, b in zip(x, y, strict=True)
    )


class Net(nn.Module):
    """Two convolutions and two norms that a forward pass combines; `head` sees to it that one pair folds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.head, self.head_norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head_norm(self.head(self.body(x)))

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))


class ConvTwice(Net):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm2(self.conv1(F.relu(self.norm1(self.conv1(x)))))


class NormTwice(Net):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm1(self.conv2(F.relu(self.norm1(self.conv1(x)))))


class NormAfterRelu(Net):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm1(F.relu(self.conv1(x)))


class TwoUsers(Net):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(x)
        return y + self.norm1(y)


class TiedConvolutions(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv2.weight = self.conv1.weight


class TiedNorms(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm2.weight, self.norm2.bias = self.norm1.weight, self.norm1.bias


class TiedBackwards(Net):
    """The module that is used first is not the one that the parameter is named after."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2.weight = self.conv1.weight
        self.late = nn.Linear(2, 2)  # unused; has no say

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm1(self.conv1(F.relu(self.norm2(self.conv2(x)))))


class TiedToUnused(Net):
    def __init__(self) -> None:
        super().__init__()
        tied = self.head.weight
        del self.head
        self._modules = {"ghost": nn.Conv2d(3, 3, 3), **self._modules, "head": nn.Conv2d(3, 3, 3)}
        self.ghost.weight = self.head.weight = tied


class WithoutStatistics(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(3, track_running_stats=False)


class WithoutAffine(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(3, affine=False)


class Grouped(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 3, groups=3, padding=1, padding_mode="reflect")


class Hooked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv1.register_forward_hook(lambda module, inputs, output: output.abs())
        self.norm2.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))


class NewWeightNorm(Net):
    def __init__(self) -> None:
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.conv1)


class WeightUsedElsewhere(Net):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(super().body(x) + self.scale)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3, 1, 1))


class Transposed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(3, 3, 1)


@pytest.mark.parametrize(
    ("make_net", "count"),
    [
        (Net, 3),
        (ConvTwice, 1),
        (NormTwice, 1),
        (NormAfterRelu, 1),
        (TwoUsers, 1),
        (TiedConvolutions, 1),
        (TiedNorms, 1),
        (TiedBackwards, 1),
        (TiedToUnused, 3),
        (WithoutStatistics, 2),
        (WithoutAffine, 3),
        (Grouped, 3),
        (Hooked, 1),
        (NewWeightNorm, 2),
        (WeightUsedElsewhere, 3),
        (Transposed, 2),
    ],
)
def test_only_what_folds_exactly(make_net: Callable[[], nn.Module], count: int) -> None:
    torch.manual_seed(1)
    model = live_in(make_net())
    config = DirectionsConfig(bias_bn="random", normalize="layer", exclude=("*norm*.weight",))
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    assert_same_function(model, drawn(model, config), x, 1e-10, count)


@pytest.mark.parametrize(("conv", "norm"), [(nn.Conv1d, nn.BatchNorm1d), (nn.Conv3d, nn.BatchNorm3d)])
def test_other_dimensions(conv: type[nn.Module], norm: type[nn.Module]) -> None:
    model = live_in(nn.Sequential(conv(2, 3, 2), norm(3)))
    x = torch.randn(2, 2, *[4] * (1 if conv is nn.Conv1d else 3), dtype=torch.float64)
    config = DirectionsConfig(bias_bn="random", exclude=("1.weight",))
    assert_same_function(model, drawn(model, config), x, 1e-10, 1)


def test_moving_statistics_are_not_folded() -> None:
    model = conv_net()
    with pytest.raises(Unfoldable, match="running statistics move"):
        fold(model, weight_space(model, "states"), [])


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("model", "said"),
    [(Branches(), "cannot trace it"), (nn.Linear(2, 2), "no BatchNorm that directly follows")],
)
def test_unfoldable(model: nn.Module, said: str) -> None:
    with pytest.raises(Unfoldable, match=said):
        fold(model, weight_space(model), drawn(model, DirectionsConfig()))


def test_a_diverged_network_cannot_be_compared() -> None:
    model = conv_net()
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    with pytest.raises(Unfoldable, match="not finite"):
        require_same(model, copy.deepcopy(model), images())


def test_require_same_accepts_rounding_in_another_precision() -> None:
    model = conv_net()
    folded = fold(model, weight_space(model), drawn(model, DirectionsConfig()), torch.float64)
    require_same(model, folded.model, images())
    require_same(model.double(), folded.model, images())


def test_require_same_finds_what_tracing_lost() -> None:
    model = conv_net()
    folded = fold(model, weight_space(model), drawn(model, DirectionsConfig()))
    model.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(Unfoldable, match="computes different values"):
        require_same(model, folded.model, images())


@pytest.mark.parametrize("batch", [(torch.randn(2, 1, 4, 4), None), {"x": torch.randn(2, 3, 4, 4)}, 3])
def test_require_same_on_a_batch_that_does_not_fit(batch: object) -> None:
    model = conv_net()
    with pytest.raises(Unfoldable, match="cannot be evaluated on a batch"):
        require_same(model, model, batch)
