"""The networks against the released checkpoints, and against counts from the literature."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from lsweep import models
from lsweep.data import load
from lsweep.errors import ConfigError, ModelError

# [He16], arXiv 1512.03385, table 6: 0.27M, 0.46M, 0.66M, 0.85M and 1.7M with option A. To the last digit: stem,
# 2n convolutions per stage, BatchNorm after each, linear layer; see `count_resnet`.
HE = {20: 0.27e6, 32: 0.46e6, 44: 0.66e6, 56: 0.85e6, 110: 1.7e6}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Where another process has one of two cores, two OpenMP threads were 80 times slower than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def count_resnet(depth: int, k: int = 1) -> int:
    """Parameters of a network of depth 6n + 2 and widths 16k, 32k, 64k without projections."""
    n = (depth - 2) // 6
    a, b, c = 16 * k, 32 * k, 64 * k
    convolutions = 9 * (3 * a + 2 * n * a * a + a * b + (2 * n - 1) * b * b + b * c + (2 * n - 1) * c * c)
    norms = 2 * (a + 2 * n * (a + b + c))
    return convolutions + norms + c * 10 + 10


def count_projections(k: int = 1) -> int:
    """Parameters of the two 1×1 convolutions with BatchNorm, where a stage begins."""
    a, b, c = 16 * k, 32 * k, 64 * k
    return a * b + 2 * b + b * c + 2 * c


def count_vgg9(width: int = 64) -> int:
    """Convolutions and linear layers with bias; BatchNorm after all but the last."""
    a, b, c = width, 2 * width, 4 * width
    convolutions = sum(9 * i * o + o + 2 * o for i, o in pairwise([3, a, a, b, b, c, c, c]))
    return convolutions + (c * 4 * 4 * c + c + 2 * c) + (c * 10 + 10)


def count_densenet121() -> int:
    """torchvision's 7,978,856 for ImageNet, with ten classes and a 3×3 stem that has no BatchNorm."""
    return 7_978_856 - (1024 + 1) * 990 - (7 * 7 - 3 * 3) * 3 * 64 - 2 * 64


def expected_count(name: str) -> int:
    if name.startswith("vgg9"):
        return count_vgg9(int(name.removeprefix("vgg9").removeprefix("_") or 64))
    if name == "densenet121":
        return count_densenet121()
    size, _, variant = name.removeprefix("resnet").removeprefix("wrn56_").partition("_")
    k = int(size) if name.startswith("wrn") else 1
    depth = 56 if name.startswith("wrn") else int(size)
    return count_resnet(depth, k) + (0 if variant else count_projections(k))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def load_strictly(model: nn.Module, path: Path) -> None:
    """Load a checkpoint; nothing but the counters may be amiss."""
    state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)


@torch.inference_mode()
def accuracy(model: nn.Module, shared: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> float:
    from lsweep.config import DataConfig

    path = str(shared / "data" / "cifar10" / "test.npz")
    data = load(DataConfig("npz", path=path, split=("test",), limit=500, mean=mean, std=std), "test")
    model.eval()
    hits = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in data.batches(100))
    return hits / len(data)


def test_names_are_those_of_the_design() -> None:
    depths, widths = (20, 32, 44, 56, 110), (2, 4, 8)
    expected = {"vgg9", "vgg9_8", "vgg9_16", "vgg9_32", "densenet121"}
    expected |= {f"resnet{d}{suffix}" for d in depths for suffix in ("", "_noshort", "_a")}
    expected |= {f"wrn56_{k}{suffix}" for k in widths for suffix in ("", "_noshort")}
    assert set(models.names()) == expected and len(models.names()) == len(expected)


@pytest.mark.parametrize("name", models.names())
def test_parameter_count(name: str) -> None:
    with torch.device("meta"):  # shapes only: no time is spent on initial weights
        assert count(models.build(name)) == expected_count(name)


def test_counts_of_the_papers_two_networks() -> None:
    assert expected_count("resnet56") == 855_770
    assert expected_count("resnet56_noshort") == 853_018


@pytest.mark.parametrize("depth", HE)
def test_counts_of_he_et_al(depth: int) -> None:
    assert count_resnet(depth) == pytest.approx(HE[depth], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_output_shape_and_fx(name: str) -> None:
    with torch.device("meta"):
        model = models.build(name).eval()
        images = torch.empty(2, 3, 32, 32)
        assert model(images).shape == (2, 10)
        traced = torch.fx.symbolic_trace(model)
        assert traced(images).shape == (2, 10)
    assert {n for n, _ in traced.named_parameters()} == {n for n, _ in model.named_parameters()}


@pytest.mark.parametrize("name", ["vgg9", "resnet20", "resnet20_noshort", "resnet20_a", "densenet121"])
def test_forward_is_deterministic_and_traced_forward_equal(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        first, again, traced = model(images), model(images), torch.fx.symbolic_trace(model)(images)
    assert first.isfinite().all()
    assert torch.equal(first, again) and torch.equal(first, traced)


@pytest.mark.parametrize("name", ["vgg9", "resnet20", "resnet20_a"])
def test_hessian_vector_products_exist(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name).eval()
    weight = next(model.parameters())
    loss = nn.functional.cross_entropy(model(torch.randn(2, 3, 32, 32)), torch.tensor([1, 2]))
    (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
    (product,) = torch.autograd.grad((gradient * torch.randn_like(gradient)).sum(), weight)
    assert product.isfinite().all() and product.abs().sum() > 0


def test_option_a_subsamples_and_pads_with_zeros() -> None:
    from lsweep.models.resnet import PadShortcut

    x = torch.arange(2 * 4 * 4, dtype=torch.float32).view(1, 2, 4, 4)
    y = PadShortcut(2, 4, 2)(x)
    assert y.shape == (1, 4, 2, 2)
    assert not y[:, [0, 3]].any()
    assert torch.equal(y[0, 1], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet56", "resnet56_noshort"])
def test_the_papers_checkpoints(shared: Path, name: str) -> None:
    model = models.build(name)
    load_strictly(model, shared / "weights" / "li2018" / f"{name}.t7")
    mean, std = (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)
    assert accuracy(model, shared, mean, std) > {"resnet56": 0.9, "resnet56_noshort": 0.83}[name]


@pytest.mark.parametrize("file", ["a.th", "b.th"])
def test_option_a_checkpoints(shared: Path, file: str) -> None:
    model = models.build("resnet20_a")
    load_strictly(model, shared / "weights" / "resnet20" / file)
    assert accuracy(model, shared, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) > 0.9


def test_classes_and_channels_can_be_chosen() -> None:
    for name in ("resnet20", "densenet121", "vgg9"):
        extra = {"image_size": 8} if name == "vgg9" else {}
        model = models.build(name, num_classes=3, in_channels=1, **extra).eval()
        assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_torchvision() -> None:
    with torch.device("meta"):
        assert count(models.build("torchvision:resnet18")) == 11_689_512  # as torchvision documents it


def test_torchvision_fetches_no_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    assert isinstance(models.build("torchvision:lraspp_mobilenet_v3_large"), nn.Module)


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Linear):\n    def __init__(self): super().__init__(3, 2)\n"
        "def make_net(): return Net()\n"
        "def make_number(): return 5\n"
        "def fail(): raise RuntimeError('no\\nluck')\n"
        "number = 5\n"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["Net", "make_net"])
def test_a_users_factory_or_class(nets: Path, name: str) -> None:
    assert models.build(f"nets.py:{name}").weight.shape == (2, 3)


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("resnet57", ModelError, r"no built-in network 'resnet57' \(did you mean 'resnet56'\?\)"),
        ("zzz", ModelError, r"'zzz' \(valid: densenet121, resnet110, .*wrn56_8_noshort\)"),
        (
            "torchvision:resnet19",
            ModelError,
            r"torchvision has no network 'resnet19' \(did you mean 'resnet18'",
        ),
        ("torchvision:zzz", ModelError, r"torchvision\.models\.list_models\(\)"),
        ("nets.py:make_number", ModelError, r"must return a torch\.nn\.Module, got int"),
        ("nets.py:number", ModelError, r"must be a factory or an nn\.Module subclass, got int"),
        ("nets.py:fail", ModelError, "'nets.py:fail' failed: RuntimeError: no luck"),
        ("nets.py:absent", ConfigError, "no 'absent' in it"),
        ("absent_package:f", ConfigError, "no module 'absent_package'"),
    ],
)
def test_errors(nets: Path, source: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        models.build(source)
    assert caught.value.key == "model.source"


def test_a_depth_that_is_not_6n_plus_2() -> None:
    from lsweep.models.resnet import CifarResNet

    with pytest.raises(ValueError, match=r"6n \+ 2"):
        CifarResNet(21)


def test_listing_names_imports_no_torch() -> None:
    code = "import sys, lsweep.models as m; m.names(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
