"""The weight space: what moves, in which order, and its place in one flat vector."""

from __future__ import annotations

import pytest
import torch
from small_models import MODELS, Tied, conv_net
from torch import nn

from lsweep.errors import ModelError
from lsweep.models.parameters import FILTER_AXIS, sha256, tensors_of, weight_space


@pytest.mark.parametrize("name", MODELS)
def test_parameters_in_order(name: str) -> None:
    model = MODELS[name]()
    space = weight_space(model)
    assert [(e.name, e.shape) for e in space.entries] == [
        (n, tuple(p.shape)) for n, p in model.named_parameters()
    ]
    assert space.size == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("space_name", ["weights", "states"])
@pytest.mark.parametrize("name", MODELS)
def test_flatten_and_views_are_inverse(name: str, space_name: str) -> None:
    model = MODELS[name]()
    space = weight_space(model, space_name)
    flat = space.flatten(tensors_of(model, space), torch.float64)
    for view, tensor in zip(space.views(flat), tensors_of(model, space), strict=True):
        assert view.shape == tensor.shape and torch.equal(view.float(), tensor)
    assert flat.untyped_storage().data_ptr() == space.views(flat)[0].untyped_storage().data_ptr()


def test_views_write_through_and_cover_everything_once() -> None:
    space = weight_space(conv_net(), "states")
    flat = torch.zeros(space.size)
    for view in space.views(flat):
        view += 1
    assert torch.equal(flat, torch.ones(space.size))


def test_convolutions_lie_channels_last() -> None:
    space = weight_space(nn.Conv2d(3, 4, 2))
    view = space.views(torch.arange(space.size))[0]
    assert view.shape == (4, 3, 2, 2) and view.is_contiguous(memory_format=torch.channels_last)


def test_states_in_the_state_dict_s_order_without_counters() -> None:
    model = conv_net()
    expected = [k for k in model.state_dict() if not k.endswith("num_batches_tracked")]
    space = weight_space(model, "states")
    assert [e.name for e in space.entries] == expected
    assert [e.name for e in space.entries if e.is_buffer] == ["1.running_mean", "1.running_var"]


def test_tied_parameters_are_one_entry() -> None:
    assert [e.name for e in weight_space(Tied()).entries] == ["embedding.weight"]
    assert [e.name for e in weight_space(Tied(), "states").entries] == ["embedding.weight"]


def test_frozen_parameters_are_there() -> None:
    model = nn.Linear(2, 2).requires_grad_(False)
    assert len(weight_space(model).entries) == 2


@pytest.mark.parametrize(
    ("name", "axis"),
    [("linear", 0), ("conv", 0), ("transposed", 1), ("hf", 1), ("embedding", 0), ("conv3d", 0)],
)
def test_filter_axis(name: str, axis: int) -> None:
    assert weight_space(MODELS[name]()).entries[0].filter_axis == axis


def test_filter_axis_of_a_subclass_and_of_a_user_s_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(nn.ConvTranspose2d):
        pass

    class Own(nn.Linear):
        pass

    monkeypatch.setitem(FILTER_AXIS, "Own", 1)
    assert weight_space(Mine(2, 3, 3)).entries[0].filter_axis == 1
    assert weight_space(nn.Sequential(Own(2, 3))).entries[0].filter_axis == 1


def test_sha256() -> None:
    a = torch.arange(6.0).reshape(2, 3)
    assert sha256(a) == sha256(a.t().contiguous().t()) == sha256(a.clone().requires_grad_())
    others = [a.reshape(3, 2), a.double(), a + 1, a.half(), torch.stack([a, a])]
    assert len({sha256(a), *map(sha256, others), sha256(a, a), sha256()}) == len(others) + 3


@pytest.mark.parametrize("tensor", [torch.tensor(3), torch.zeros(0, 3), torch.ones(2, dtype=torch.bfloat16)])
def test_sha256_of_odd_tensors(tensor: torch.Tensor) -> None:
    assert len(sha256(tensor)) == 64


@pytest.mark.parametrize("layer", [nn.LazyLinear(3), nn.Linear(2, 3, device="meta")])
def test_parameters_without_values_are_refused(layer: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"'0\.weight' has no values yet"):
        weight_space(nn.Sequential(layer))


def test_torchscript_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'0' is TorchScript"):
        weight_space(nn.Sequential(torch.jit.script(nn.Linear(2, 3))))
