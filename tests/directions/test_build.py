"""Directions against plain loops over filters, and against those that the paper's code drew."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import h5py
import pytest
import torch
from small_models import MODELS, Tied, conv_net
from torch import nn

from lsweep import directions, models
from lsweep.config import AxisDirection, DirectionsConfig
from lsweep.directions import Sources, Tensors, make, normalize, random
from lsweep.errors import ConfigError, DirectionsError
from lsweep.models import checkpoint
from lsweep.models.parameters import WeightSpace, tensors_of, weight_space

MODES = ["filter", "layer", "weight", "dfilter", "dlayer", "none"]


def seeded(name: str) -> nn.Module:
    torch.manual_seed(4)
    return MODELS[name]()


def theta_of(model: nn.Module, space: WeightSpace) -> Tensors:
    return [t.detach().clone() for t in tensors_of(model, space)]


def made(
    model: nn.Module,
    config: DirectionsConfig,
    axes: str = "xy",
    *,
    checkpoints: Mapping[str, Tensors] | None = None,
    files: Mapping[str, Mapping[str, Tensors]] | None = None,
) -> list[Tensors]:
    space = weight_space(model, config.space)
    targets = dict(checkpoints or {})
    sources = Sources(checkpoint=lambda path: nullcontext(targets[path]), file=dict(files or {}).__getitem__)
    return make(config, axes, space, theta_of(model, space), sources)


def drawn(model: nn.Module, seed: int, skip: int = 0) -> Tensors:
    """The `skip`-th direction of a seed, before normalisation."""
    generator = torch.Generator().manual_seed(seed)
    space = weight_space(model)
    for _ in range(skip):
        random(space, generator)
    return [torch.randn(p.shape, generator=generator) for p in model.parameters()]


def equal(one: Tensors, other: Tensors) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["resnet56", "resnet56_noshort"])
def test_seed_2018_is_the_paper_s_code_bit_for_bit(shared: Path, name: str) -> None:
    model = models.build(name)
    checkpoint.fit(model, checkpoint.read(shared / "weights/li2018" / f"{name}.t7"), name)
    with h5py.File(shared / "golden" / f"{name}_directions.h5") as file:
        groups = [file["xdirection"], file["ydirection"]]
        recorded = [[torch.from_numpy(g[str(i)][...]) for i in range(len(g))] for g in groups]
    for ours, theirs in zip(made(model, DirectionsConfig(seed=2018)), recorded, strict=True):
        assert equal(ours, theirs)


def reference(d: torch.Tensor, w: torch.Tensor, axis: int, mode: str) -> torch.Tensor:
    """[Li18] §4 and its code's modes, filter by filter, in float64."""
    d, w = d.double().clone(), w.double()
    if mode == "weight":
        return d * w
    if mode == "layer":
        return d * w.norm() / d.norm()
    if mode == "dlayer":
        return d / d.norm()
    for k in range(d.shape[axis] if mode != "none" else 0):
        length = 1.0 if mode == "dfilter" else w.select(axis, k).norm()
        d.select(axis, k).mul_(length / d.select(axis, k).norm())
    return d


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_normalisation(name: str, mode: str) -> None:
    model = seeded(name)
    space = weight_space(model)
    theta = theta_of(model, space)
    before = random(space, torch.Generator().manual_seed(0))
    for entry, d, w, got in zip(
        space.entries, before, theta, normalize(before, theta, space, mode, "zero"), strict=True
    ):
        expected = reference(d, w, entry.filter_axis, mode) if w.dim() > 1 else torch.zeros_like(w).double()
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_filters_of_d_have_the_norms_of_w(name: str) -> None:
    model = seeded(name)
    space = weight_space(model)
    (d,) = made(model, DirectionsConfig(), "x")
    for entry, dk, wk in zip(space.entries, d, theta_of(model, space), strict=True):
        if wk.dim() > 1:
            axes = [a for a in range(wk.dim()) if a != entry.filter_axis]
            vector_norm = torch.linalg.vector_norm
            torch.testing.assert_close(vector_norm(dk, dim=axes), vector_norm(wk, dim=axes))


@pytest.mark.parametrize("mode", ["filter", "layer", "weight"])
def test_a_zero_filter_stays_zero(mode: str) -> None:
    model = nn.Linear(4, 3)
    model.weight.data[1] = 0
    (d,) = made(model, DirectionsConfig(normalize=mode), "x")
    assert torch.isfinite(d[0]).all() and (mode == "layer" or not d[0][1].any()) and bool(d[0][0].any())


def test_bias_bn() -> None:
    model = seeded("norms")
    raw, weights = drawn(model, 3), [p.detach() for p in model.parameters()]
    small = [i for i, p in enumerate(weights) if p.dim() <= 1]
    for rule, expected in (
        ("zero", [torch.zeros_like(p) for p in weights]),
        ("copy", weights),
        ("random", raw),
    ):
        (d,) = made(model, DirectionsConfig(seed=3, bias_bn=rule), "x")
        assert small and all(torch.equal(d[i], expected[i]) for i in small)


def test_normalising_leaves_the_network_and_the_draw_alone() -> None:
    model = seeded("conv")
    space = weight_space(model)
    theta, before = theta_of(model, space), random(space, torch.Generator())
    kept = [b.clone() for b in before]
    normalize(before, tensors_of(model, space), space, "filter", "copy")[1].add_(1)
    assert equal(theta, tensors_of(model, space)) and equal(kept, before)


def test_x_is_drawn_before_y() -> None:
    model = seeded("linear")
    config = DirectionsConfig(seed=5, normalize="none", bias_bn="random")
    x, y = made(model, config)
    assert equal(x, drawn(model, 5)) and equal(y, drawn(model, 5, skip=1))
    assert equal(x, made(model, config, "x")[0])


def test_an_axis_with_its_own_seed() -> None:
    model = seeded("linear")
    config = DirectionsConfig(seed=5, normalize="none", bias_bn="random", y=AxisDirection(seed=9))
    x, y, z = made(model, config, "xyz")
    assert equal(x, drawn(model, 5)) and equal(y, drawn(model, 9)) and equal(z, drawn(model, 5, skip=1))


def test_the_same_seed_on_two_axes_is_refused() -> None:
    config = DirectionsConfig(x=AxisDirection(seed=1), y=AxisDirection(seed=1))
    with pytest.raises(DirectionsError, match="axes x and y are the same"):
        made(seeded("linear"), config)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    model = conv_net()
    torch.set_rng_state(before)
    made(model, DirectionsConfig())
    assert torch.equal(before, torch.get_rng_state())


def test_excluded_entries_are_drawn_all_the_same() -> None:
    model = seeded("norms")
    whole = made(model, DirectionsConfig(bias_bn="random"), "x")[0]
    some = made(model, DirectionsConfig(bias_bn="random", exclude=("0.*",)), "x")[0]
    names = [e.name for e in weight_space(model).entries]
    for name, a, b in zip(names, whole, some, strict=True):
        assert torch.equal(b, torch.zeros_like(a) if name.startswith("0.") else a)


def test_include_then_exclude() -> None:
    model = seeded("conv")
    (d,) = made(model, DirectionsConfig(bias_bn="random", include=("0.*", "1.*"), exclude=("*.bias",)), "x")
    names = [e.name for e in weight_space(model).entries]
    assert [n for n, t in zip(names, d, strict=True) if t.any()] == ["0.weight", "1.weight"]


@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_pattern_that_matches_nothing_is_refused(field: str) -> None:
    with pytest.raises(
        ConfigError, match=r"'layer9\.\*' matches no parameter; the first are 0\.weight"
    ) as caught:
        made(seeded("conv"), DirectionsConfig(**{field: ("layer9.*",)}))
    assert caught.value.key == f"directions.{field}"


def test_nothing_left_to_move_is_refused() -> None:
    with pytest.raises(ConfigError, match="leave no parameter"):
        made(seeded("linear"), DirectionsConfig(exclude=("*",)))


def test_a_direction_that_is_zero_is_refused() -> None:
    with pytest.raises(DirectionsError, match="axis x is zero everywhere"):
        made(seeded("linear"), DirectionsConfig(include=("bias",)))


def test_tied_parameters_move_once_and_frozen_ones_move() -> None:
    (d,) = made(Tied().requires_grad_(False), DirectionsConfig(), "x")
    assert len(d) == 1 and d[0].any()


def test_states_move_statistics_with_the_copy_rule_but_no_counters() -> None:
    model = seeded("conv")
    space = weight_space(model, "states")
    (d,) = made(model, DirectionsConfig(space="states", bias_bn="copy"), "x")
    by_name = {e.name: t for e, t in zip(space.entries, d, strict=True)}
    assert (
        torch.equal(by_name["1.running_var"], model[1].running_var) and "1.num_batches_tracked" not in by_name
    )


def test_interpolation() -> None:
    model, other, third = seeded("conv"), conv_net(), conv_net()
    targets = {
        "b.pt": [p.detach() for p in other.parameters()],
        "c.pt": [p.detach() for p in third.parameters()],
    }
    x, y = made(model, DirectionsConfig(kind="interpolate", to="b.pt", to_y="c.pt"), checkpoints=targets)
    for d, target in ((x, other), (y, third)):
        for step, a, b in zip(d, model.parameters(), target.parameters(), strict=True):
            torch.testing.assert_close(a.detach() + step, b.detach())


def test_x_to_another_solution_by_a_random_y() -> None:
    model = seeded("linear")
    target = [p.detach() + 1 for p in model.parameters()]
    config = DirectionsConfig(
        normalize="none", bias_bn="random", x=AxisDirection(kind="interpolate", to="b.pt")
    )
    x, y = made(model, config, checkpoints={"b.pt": target})
    assert all(torch.allclose(t, torch.ones(())) for t in x) and equal(y, drawn(model, 0))


@pytest.mark.parametrize(("axes", "key"), [("x", "directions.to"), ("xy", "directions.to_y")])
def test_interpolation_needs_its_targets(axes: str, key: str) -> None:
    model = seeded("linear")
    config = DirectionsConfig(kind="interpolate", to="b.pt" if axes == "xy" else None)
    target = [p.detach() + 1 for p in model.parameters()]
    with pytest.raises(ConfigError, match="interpolate") as caught:
        made(model, config, axes, checkpoints={"b.pt": target})
    assert caught.value.key == key


def test_interpolation_to_itself_is_refused() -> None:
    model = seeded("linear")
    same = {"b.pt": [p.detach() for p in model.parameters()]}
    with pytest.raises(DirectionsError, match="zero everywhere"):
        made(model, DirectionsConfig(kind="interpolate", to="b.pt"), "x", checkpoints=same)


def test_a_file_s_directions_are_taken_as_they_are() -> None:
    model = seeded("conv")
    stored = {"x": drawn(model, 1), "y": [d.double() for d in drawn(model, 2)]}
    x, y = made(model, DirectionsConfig(kind="file", path="d.h5"), files={"d.h5": stored})
    assert equal(x, stored["x"]) and equal(y, drawn(model, 2))


def test_a_file_of_states_may_hold_counters() -> None:
    model = seeded("conv")
    stored = [torch.randn(v.shape) for v in model.state_dict().values()]
    config = DirectionsConfig(kind="file", path="d.h5", space="states")
    (x,) = made(model, config, "x", files={"d.h5": {"x": stored}})
    assert equal(x, [t for t in stored if t.dim()])


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"x": [torch.ones(3, 5)]}, "1 tensors, the network moves 2"),
        ({"x": [torch.ones(5, 3), torch.ones(3)]}, r"tensor 0 has shape \(5, 3\), weight has \(3, 5\)"),
        ({"y": [torch.ones(3, 5), torch.ones(3)]}, "no direction for axis x, only y"),
        ({}, "only none"),
    ],
)
def test_a_file_that_does_not_fit(stored: dict[str, Tensors], said: str) -> None:
    with pytest.raises(DirectionsError, match=said):
        made(seeded("linear"), DirectionsConfig(kind="file", path="d.h5"), "x", files={"d.h5": stored})


def test_file_needs_a_path() -> None:
    with pytest.raises(ConfigError, match=r"needs directions\.path"):
        made(seeded("linear"), DirectionsConfig(kind="file"))


def test_fingerprint_tells_directions_apart() -> None:
    model = seeded("conv")
    one, other = (directions.fingerprint(drawn(model, seed)) for seed in (0, 1))
    assert one.dtype == "float64" and one.shape == other.shape and not (one == other).all()


def test_fingerprint_of_as_many_weights_as_a_resnet50() -> None:
    # 25557031 in float32 is 25557032, which is one too many.
    values = directions.fingerprint([torch.ones(1).expand(25_557_032)])
    assert len(values) == 65
