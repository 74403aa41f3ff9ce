"""Fused convolutions give what the network gives in steps, keep its parameters, and leave the rest alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from lsweep.evaluate.kernels import folding, fusion
from lsweep.models import build
from lsweep.models.parameters import weight_space


class Block(nn.Module):
    """Two convolutions, what `join` makes of the second one and the input, ReLU."""

    def __init__(self, join: Callable[..., torch.Tensor], stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=2, dilation=2, stride=stride, groups=2, bias=False)
        self.join = join

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        between = F.relu(self.first(inputs))
        return self.join(self.second(between), between).relu()


def fused(model: nn.Module) -> tuple[fx.GraphModule, int]:
    traced = fx.symbolic_trace(model.eval())
    return traced, fusion.fuse(traced)


def agree(model: nn.Module, traced: nn.Module, inputs: torch.Tensor) -> None:
    with torch.no_grad():
        expected = model(inputs)
        torch.testing.assert_close(
            traced(inputs), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
        )


@pytest.mark.parametrize(
    ("join", "count"),
    [
        (lambda conv, shortcut: conv + shortcut, 2),
        (lambda conv, shortcut: shortcut + conv, 2),
        (lambda conv, shortcut: torch.add(conv, shortcut), 2),
        (lambda conv, shortcut: conv + shortcut.mean((2, 3), keepdim=True), 2),
        (lambda conv, shortcut: conv, 2),
        (lambda conv, shortcut: conv * shortcut, 1),
        (lambda conv, shortcut: torch.add(conv, shortcut, alpha=2), 1),
        (lambda conv, shortcut: conv + 1.0, 1),
        (lambda conv, shortcut: conv + conv.mean(), 1),
    ],
    ids=["sum", "other way", "torch.add", "spread", "none", "product", "alpha", "number", "heard twice"],
)
def test_what_is_taken_in(join: Callable[..., torch.Tensor], count: int) -> None:
    torch.manual_seed(0)
    model = Block(join)
    traced, done = fused(model)
    assert done == count
    for layout in (torch.contiguous_format, torch.channels_last):
        agree(model, traced, torch.randn(3, 4, 6, 5).contiguous(memory_format=layout))
    assert sum(isinstance(m, fusion.FusedConvolution) for m in traced.modules()) == count


def test_strides() -> None:
    model = Block(lambda conv, shortcut: conv + shortcut[:, :, ::2, ::2], stride=2)
    traced, done = fused(model)
    assert done == 2
    agree(model, traced, torch.randn(2, 4, 7, 6))


def test_hooks_and_other_padding_are_left_alone() -> None:
    hooked = nn.Conv2d(3, 3, 3)
    hooked.register_forward_hook(lambda *_: None)
    layers = [hooked, nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(3, 3, 3, padding="same"), nn.ReLU())
    traced, done = fused(model)
    assert done == 0
    agree(model, traced, torch.randn(2, 3, 9, 9))


def test_the_paper_s_network_with_the_parameters_where_they_were() -> None:
    torch.manual_seed(0)
    model = build("resnet20")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
    folded = folding.fold(model.eval(), weight_space(model), []).model
    assert isinstance(folded, fx.GraphModule)
    agree(model, folded, inputs := torch.randn(4, 3, 32, 32))
    before = {id(p) for p in folded.parameters()}
    assert fusion.fuse(folded) == 19
    assert {id(p) for p in folded.parameters()} == before
    agree(model, folded, inputs)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
        assert not folded(inputs).any()


def test_where_it_pays() -> None:
    graph = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 1, 1)))
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for device in (cpu, gpu):  # a user's graph may have more to it than a copy has
        assert not fusion.is_faster(graph, torch.bfloat16, device)
        assert not fusion.is_faster(nn.Linear(1, 1), torch.bfloat16, device)
    graph.meta[fusion.OURS] = True
    assert not fusion.is_faster(graph, torch.float32, cpu)
    assert not fusion.is_faster(graph, torch.float64, gpu)
    assert fusion.is_faster(graph, torch.bfloat16, cpu) == torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_a_twin_shares_all_that_moves_and_the_network_stays_as_it_is() -> None:
    traced = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)).eval())
    fused_copy = fusion.fused_copy(traced)
    assert not any(isinstance(m, fusion.FusedConvolution) for m in traced.modules())
    assert sum(isinstance(m, fusion.FusedConvolution) for m in fused_copy.modules()) == 1
    for own, other in (
        (traced.parameters(), fused_copy.parameters()),
        (traced.buffers(), fused_copy.buffers()),
    ):
        assert {id(tensor) for tensor in own} == {id(tensor) for tensor in other}
    inputs = torch.randn(2, 3, 5, 5)
    with torch.no_grad():
        next(traced.parameters()).mul_(2.0)
        torch.testing.assert_close(fused_copy(inputs), traced(inputs))


class Refusing:
    """cuDNN, with a kernel for batches of two alone; it counts how often it is asked for others."""

    def __init__(self, reason: str) -> None:
        self.reason, self.asked = reason, 0

    def __call__(self, conv: nn.Conv2d, inputs: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        if len(inputs) == 2:
            return F.relu(conv(inputs) if other is None else conv(inputs) + other)
        self.asked += 1
        raise RuntimeError(self.reason)


@pytest.mark.parametrize(
    "reason",
    [
        "GET was unable to find an engine to execute this computation",
        "cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph.",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    ],
)
def test_a_shape_without_a_kernel_goes_in_steps_and_no_other(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    refusing = Refusing(reason)
    monkeypatch.setattr(fusion, "_KERNELS", {"cpu": refusing})
    model = Block(lambda conv, shortcut: conv + shortcut)
    traced, done = fused(model)
    for size in (3, 2, 3, 2):
        agree(model, traced, torch.randn(size, 4, 6, 5))
    assert done == refusing.asked == 2
    agree(model, traced, torch.randn(5, 4, 6, 5))
    assert refusing.asked == 4


@pytest.mark.parametrize("reason", ["CUDA out of memory", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"])
def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setattr(fusion, "_KERNELS", {"cpu": Refusing(reason)})
    traced, _ = fused(Block(lambda conv, shortcut: conv + shortcut))
    with pytest.raises(RuntimeError, match=reason):
        traced(torch.randn(3, 4, 6, 5))


def test_layers_with_like_names() -> None:
    """`a.b` and `a_b` are two convolutions."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.ModuleDict({"b": nn.Conv2d(1, 1, 1)})
            self.a_b = nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(self.a_b(F.relu(self.a["b"](x))))

    model = Net()
    traced, done = fused(model)
    assert done == 2
    agree(model, traced, torch.randn(2, 1, 3, 3))


def test_nothing_to_fuse_is_no_copy() -> None:
    traced = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sigmoid()))
    assert fusion.fused_copy(traced) is traced
