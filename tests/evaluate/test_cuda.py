"""On a GPU: the same landscapes as on a CPU, the same bits twice, every precision within its tolerance.

    python -m pytest -m gpu

Without a GPU these tests are not collected: what can be tested of this code on a CPU is, elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recorded_surfaces import agree, axis, recorded, table
from small_models import conv_net, live_in
from torch import fx, nn

import lsweep
from lsweep import config
from lsweep.comm import SerialComm
from lsweep.data import from_object
from lsweep.engine import job
from lsweep.evaluate.device import repeatable
from lsweep.evaluate.exact import ExactEvaluator, exact_evaluator
from lsweep.evaluate.kernels import folding, fusion
from lsweep.evaluate.low_precision import LowPrecision
from lsweep.evaluate.objective import Supervised, cross_entropy
from lsweep.evaluate.sampled import SampledEvaluator
from lsweep.evaluate.sampling.stopping import ErrorBudget
from lsweep.models import build
from lsweep.models.parameters import weight_space
from lsweep.surface import Precision

pytestmark = pytest.mark.gpu

POINTS = np.random.default_rng(0).uniform(-1, 1, (4, 2))


def images(count: int, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, side, side, generator=rng), torch.arange(count) % 10


def network(name: str = "resnet20") -> nn.Module:
    torch.manual_seed(0)
    return live_in(build(name)).eval()


@pytest.fixture(autouse=True)
def as_in_a_sweep() -> Iterator[None]:
    with repeatable():
        yield


@contextmanager
def evaluator_of(
    model: nn.Module, device: str = "cuda", count: int = 600, **more: Any
) -> Iterator[ExactEvaluator]:
    rng = torch.Generator().manual_seed(1)
    drawn = [
        [0.1 * p.norm() * torch.randn(p.shape, generator=rng) / p.numel() ** 0.5 for p in model.parameters()]
        for _ in range(2)
    ]
    data = {"train": from_object(images(count))}
    with exact_evaluator(
        model, data, Supervised(cross_entropy), weight_space(model), drawn, device=device, **more
    ) as evaluator:
        yield evaluator


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", ["resnet20", "resnet20_noshort"])
def test_losses_of_a_cpu(name: str, dtype: torch.dtype, rtol: float) -> None:
    with evaluator_of(network(name), "cpu", count=150, dtype=dtype) as evaluator:
        truth = evaluator.evaluate(POINTS).values
    with evaluator_of(network(name), count=150, dtype=dtype, batch_size=40) as evaluator:
        found = evaluator.evaluate(POINTS).values
        again = evaluator.evaluate(POINTS[::-1]).values[::-1]
    np.testing.assert_allclose(found[:, 0], truth[:, 0], rtol=rtol)
    np.testing.assert_allclose(found[:, 1], truth[:, 1], atol=1.01 / 150)
    assert found.tobytes() == again.tobytes()


def test_graphs_are_used_and_change_no_bit() -> None:
    with evaluator_of(network(), batch_size=100, count=650) as evaluator:
        replayed = evaluator.evaluate(POINTS).values
        assert evaluator._replay is not None and evaluator._replay._recording is not None
        evaluator.capture(None)
        assert evaluator.evaluate(POINTS).values.tobytes() == replayed.tobytes()


@pytest.mark.parametrize("kind", [Precision.TF32, Precision.BF16, Precision.FP16])
@pytest.mark.parametrize("folded", [False, True])
def test_lower_precisions_within_their_tolerance(kind: Precision, folded: bool) -> None:
    model = network()
    if folded:
        model = folding.fold(model, weight_space(model), []).model
    with evaluator_of(model, count=1000, batch_size=200) as exact:
        truth = exact.evaluate(POINTS).values
        cheap = SampledEvaluator(exact.net, 200, ErrorBudget(kind, 0.05))
        found = cheap.evaluate(POINTS)
        assert cheap.evaluate(POINTS).values.tobytes() == found.values.tobytes()
        assert cheap._replay_low is not None and cheap._replay_low._recording is not None
    assert (found.columns["precision"] == kind).sum() >= 3
    np.testing.assert_allclose(found.values[:, 0], truth[:, 0], rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fused_convolutions_on_a_gpu(dtype: torch.dtype) -> None:
    model = network()
    folded = folding.fold(model, weight_space(model), []).model.cuda()
    inputs = images(64)[0].cuda().contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        truth = folded(inputs)
        low = folded.to(dtype)
        steps = low(inputs.to(dtype)).float()
        assert isinstance(low, fx.GraphModule) and fusion.is_faster(low, dtype, inputs.device)
        assert fusion.fuse(low) == 19
        fused = low(inputs.to(dtype)).float()
    scale = truth.abs().max().item()
    assert (fused - truth).abs().max().item() < 0.05 * scale
    assert (fused - truth).norm() <= 1.2 * (steps - truth).norm()
    convolutions = [m for m in low.modules() if isinstance(m, fusion.FusedConvolution)]
    assert sum(bool(c._refused) for c in convolutions) <= 1  # of three channels the first one may be


def test_the_network_is_given_back() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with evaluator_of(model) as evaluator:
        evaluator.evaluate(POINTS[:1])
    for name, tensor in model.state_dict().items():
        assert tensor.device.type == "cpu" and torch.equal(tensor, before[name])


def test_short_of_memory_batches_are_halved() -> None:
    model = network()
    with evaluator_of(model, count=4000, batch_size=250) as evaluator:
        truth = evaluator.evaluate(POINTS[:2]).values
    torch.cuda.empty_cache()
    _free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 400 * 2**20) / total))
    try:
        with evaluator_of(model, count=4000, batch_size=4000) as evaluator:
            found = evaluator.evaluate(POINTS[:2])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert (found.columns["batch_size"] < 4000).all()
    np.testing.assert_allclose(found.values, truth, rtol=1e-4)


def test_several_points_at_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 30), nn.ReLU(), nn.Linear(30, 10))
    data = images(500, side=8)
    surfaces = [
        lsweep.sweep(
            model,
            data,
            grid={axis: {"min": -1.0, "max": 1.0, "num": 9} for axis in "xy"},
            device=device,
            overrides={"evaluate.points_at_once": 81},
        )
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(surfaces[1].loss, surfaces[0].loss, rtol=1e-4)


def test_a_convolutional_network_several_times_at_once() -> None:
    model = conv_net(10)
    data = images(200, side=8)
    grid = {axis: {"min": -0.5, "max": 0.5, "num": 4} for axis in "xy"}
    one, several = (
        lsweep.sweep(model, data, grid=grid, device="cuda", overrides={"evaluate.points_at_once": count}).loss
        for count in (1, 8)
    )
    np.testing.assert_allclose(several, one, rtol=1e-4)


@pytest.mark.parametrize(
    "setting", [{}, {"precision": "auto"}, {"precision": "auto", "relative_error": 0.02}]
)
def test_a_sweep_goes_on_after_a_stop(tmp_path: Path, setting: dict[str, Any]) -> None:
    """The second half of a sweep, begun with the first half in the file, gives the bits of a whole one."""
    (tmp_path / "net.py").write_text(
        "from lsweep.models import build\n\ndef make():\n    return build('resnet20')\n"
    )
    torch.save(network().state_dict(), tmp_path / "net.pt")
    data = images(900, 32)
    pixels = (data[0].permute(0, 2, 3, 1) * 40 + 128).clamp(0, 255).to(torch.uint8)
    np.savez(tmp_path / "data.npz", images=pixels.numpy(), labels=data[1].numpy())
    losses = []
    for name, limits in {"whole": [None], "parts": [4, None]}.items():
        for limit in limits:
            read = config.from_table(
                {
                    "output": str(tmp_path / f"{name}.h5"),
                    "model": {"source": f"{tmp_path}/net.py:make", "weights": str(tmp_path / "net.pt")},
                    "data": {"source": "npz", "path": str(tmp_path / "data.npz")},
                    "grid": {axis: {"min": -0.5, "max": 0.5, "num": 4} for axis in "xy"},
                    "evaluate": {"device": "cuda", "batch_size": 300, **setting},
                }
            )
            job.sweep(read, SerialComm(), job.Options(max_points=limit))
        losses.append(lsweep.open(tmp_path / f"{name}.h5").loss)
    assert np.isfinite(losses[0]).all() and losses[0].tobytes() == losses[1].tobytes()


def test_curvature_of_a_cpu() -> None:
    model, data = conv_net(10), images(100, side=8)
    grid = {axis: {"min": -0.5, "max": 0.5, "num": 2} for axis in "xy"}
    cpu, gpu = (
        lsweep.sweep(model, data, grid=grid, device=device, precision="fp64", hessian=True).curvature
        for device in ("cpu", "cuda")
    )
    assert cpu is not None and gpu is not None
    for name in ("eig_min", "eig_max"):
        np.testing.assert_allclose(gpu[name], cpu[name], rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet56_surface", "resnet56_noshort_surface"])
def test_recorded_surfaces(shared: Path, tmp_path: Path, name: str) -> None:
    truth = recorded(shared, name)
    grid = {key: axis(truth[key]) for key in ("x", "y")}
    output = tmp_path / "sweep.h5"
    read = table(shared, name) | {"output": str(output), "grid": grid, "evaluate": {"device": "cuda"}}
    job.sweep(config.from_table(read), SerialComm())
    surface = lsweep.open(output)
    agree(surface.loss, surface.accuracy, truth)


@pytest.mark.parametrize(("kind", "most"), [(Precision.TF32, 5e-3), (Precision.BF16, 0.05)])
def test_twins_follow(kind: Precision, most: float) -> None:
    with evaluator_of(network()) as evaluator, torch.no_grad():
        low, inputs = LowPrecision(evaluator.net, kind), images(8)[0].cuda()
        for point in POINTS:
            evaluator.net.move(point)
            low.follow()
            exact = evaluator.net.model(inputs)
            assert (low(inputs) - exact).norm() <= most * exact.norm()


def test_what_is_not_finite_is_so_fused_or_not() -> None:
    """And a point after it has the bits that it has alone: memory that it leaves behind must not matter."""
    model = network()
    folded = folding.fold(model, weight_space(model), [])
    far = np.array([[3e7, 0.0], [1e30, 1e30], [0.0, 0.0]])
    with evaluator_of(folded.model, count=300, batch_size=100) as evaluator:
        assert evaluator.is_fused
        found, centre = evaluator.evaluate(far).values, evaluator.evaluate(far[2:]).values
        with evaluator.in_steps():
            steps = evaluator.evaluate(far).values
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(steps))
    assert not np.isfinite(found[1, 0]) and np.isfinite(found[2]).all()
    assert found[2:].tobytes() == centre.tobytes()
