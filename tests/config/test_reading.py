"""The configuration: its defaults, its refusals, and that its text says all of it."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsweep import config
from lsweep.config import (
    AxisDirection,
    Config,
    DataConfig,
    DirectionsConfig,
    EvaluateConfig,
    ModelConfig,
    ScheduleConfig,
    StoreConfig,
    TrainConfig,
)
from lsweep.errors import EXIT_BAD_INPUT, ConfigError
from lsweep.grid import Axis, Grid

SMALLEST = 'output = "o.h5"\n[model]\nsource = "resnet20"\n[data]\nsource = "digits"\n'

# As README and design print them.
DEFAULTS = {
    "data": {"split": ["train"]},
    "directions": {
        "kind": "random",
        "seed": 0,
        "normalize": "filter",
        "bias_bn": "zero",
        "space": "weights",
        "include": [],
        "exclude": [],
        "keep": False,
        "trail": [],
        "centred": True,
        "margin": 0.25,
    },
    "grid": {"x": {"min": -1.0, "max": 1.0, "num": 51}, "y": {"min": -1.0, "max": 1.0, "num": 51}},
    "evaluate": {
        "loss": "cross_entropy",
        "metrics": [],
        "precision": "fp32",
        "device": "auto",
        "tolerance": 0.01,
        "absolute_error": 0.0,
        "confidence": 0.95,
        "least_examples": 100,
        "neighbours": True,
        "points_at_once": 1,
        "fold_batchnorm": True,
        "batchnorm": "fixed",
        "recalibrate_examples": 1000,
        "max_failures": 5,
        "certificate": 0,
    },
    "curvature": {"tolerance": 1e-3, "max_products": 400, "seed": 0},
    "schedule": {"kind": "auto", "tile": 1, "share_gpu": False, "silent_seconds": 120.0},
    "store": {"mode": "auto", "sync_seconds": 5.0},
}


def refused(text: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, overrides)
    assert caught.value.exit_status == EXIT_BAD_INPUT
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("section", DEFAULTS)
def test_defaults(section: str) -> None:
    resolved = tomllib.loads(config.parse(SMALLEST).to_toml())
    assert {k: v for k, v in resolved[section].items() if k != "source"} == DEFAULTS[section]


def test_the_example_of_the_design() -> None:
    text = """
    output = "results/resnet56.h5"
    [model]
    source  = "resnet56"
    weights = "resnet56.t7"
    [data]
    source = "npz"
    path   = "data/train_*.npz"
    split  = "train"
    limit  = 1000
    mean   = [0.4914, 0.4822, 0.4465]
    std    = [0.2470, 0.2435, 0.2616]
    [directions]
    kind = "random"
    [grid]
    x = { min = -1, max = 1, num = 51 }
    y = { min = -1.0, max = 1.0, num = 51 }
    [evaluate]
    metrics = []
    """
    made = config.parse(text)
    assert made.data.mean == (0.4914, 0.4822, 0.4465) and made.data.split == ("train",)
    assert made.grid == Grid(Axis(), Axis()) and type(made.grid.x.min) is float
    assert made.directions == DirectionsConfig() and made.evaluate == EvaluateConfig()


def test_a_grid_without_y_is_a_line() -> None:
    assert config.parse(SMALLEST + "[grid]\nx = {num = 7}").grid == Grid(Axis(num=7))


def test_no_grid_is_a_plane() -> None:
    assert config.parse(SMALLEST).grid.shape == (51, 51)


@pytest.mark.parametrize(
    ("override", "key", "hint"),
    [
        ("outputs=1", "outputs", "'output'"),
        ("model.sourc=1", "model.sourc", "'source'"),
        ("data.splits=1", "data.splits", "'split'"),
        ("directions.sed=1", "directions.sed", "'seed'"),
        ("directions.y.normalise='filter'", "directions.y.normalise", "'normalize'"),
        ("grid.x.nun=1", "grid.x.nun", "'num'"),
        ("evaluate.metric=1", "evaluate.metric", "'metrics'"),
        ("schedule.kinds=1", "schedule.kinds", "'kind'"),
        ("store.mod=1", "store.mod", "'mode'"),
        ("grid.w.num=1", "grid.w", "valid: refine, x, y, z"),
    ],
)
def test_unknown_key(override: str, key: str, hint: str) -> None:
    error = refused(SMALLEST, override)
    assert error.key == key and repr(key) in str(error) and hint in str(error)


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("output=3", "output", "a string, got 3"),
        ("model=3", "model", "a table, got 3"),
        ("grid.x=3", "grid.x", "a table, got 3"),
        ("grid.x.num=5.0", "grid.x.num", "an integer, got 5.0"),
        ("grid.x.num=true", "grid.x.num", "an integer, got True"),
        ("grid.x.min='a'", "grid.x.min", "a number, got 'a'"),
        ("grid.x.min=true", "grid.x.min", "a number, got True"),
        ("data.mean=['a']", "data.mean", "a number, got 'a'"),
        ("data.limit='all'", "data.limit", "an integer"),
        ("evaluate.fold_batchnorm=1", "evaluate.fold_batchnorm", "true or false, got 1"),
        ("directions.kind=pca3", "directions.kind", "random, interpolate, pca, file, hessian; got 'pca3'"),
        ("directions.kind=[]", "directions.kind", "got []"),
        ("directions.seed='0'", "directions.seed", "an integer"),
        ("store.mode=1", "store.mode", "auto, mpio, gather; got 1"),
        ("evaluate.precision=fp8", "evaluate.precision", "fp32, fp64"),
        ("directions.include=[1]", "directions.include", "a string, got 1"),
    ],
)
def test_wrong_type(override: str, key: str, said: str) -> None:
    error = refused(SMALLEST, override)
    assert error.key == key and said in str(error)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("grid.x.num=0", "grid.x.num"),
        ("grid.y.num=-3", "grid.y.num"),
        ("grid.x.min=2", "grid.x.min"),
        ("grid.x.min=nan", "grid.x.min"),
        ("grid.x.max=inf", "grid.x.min"),
        ("grid.x.max=-1", "grid.x.min"),
        ("grid.z.num=3", "grid.z"),
        ("data.split=valid", "data.split"),
        ("data.split=[]", "data.split"),
        ("data.split=['train','train']", "data.split"),
        ("data.limit=0", "data.limit"),
        ("directions.seed=-1", "directions.seed"),
        ("directions.y.seed=9223372036854775808", "directions.y.seed"),
        ("evaluate.batch_size=0", "evaluate.batch_size"),
        ("evaluate.max_failures=-1", "evaluate.max_failures"),
        ("schedule.tile=0", "schedule.tile"),
        ("store.sync_seconds=-1", "store.sync_seconds"),
        ("store.sync_seconds=nan", "store.sync_seconds"),
        ("store.sync_seconds=inf", "store.sync_seconds"),
    ],
)
def test_impossible_value(override: str, key: str) -> None:
    error = refused(SMALLEST, override)
    assert error.key == key and key.rpartition(".")[0] in str(error)


@pytest.mark.parametrize("key", ["output", "model.source", "data.source"])
def test_missing_key(key: str) -> None:
    section, _, name = key.rpartition(".")
    table = tomllib.loads(SMALLEST)
    del (table[section] if section else table)[name]
    with pytest.raises(ConfigError, match=f"missing key '{key}'"):
        config.from_table(table)


def test_not_toml() -> None:
    assert "not valid TOML" in str(refused("output = "))
    assert "not valid TOML" in str(refused("a = " + "[" * 5000))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00"])
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml"):
        config.load(file)


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("grid.x.num=101", ("grid", "x", "num"), 101),
        ("grid.z={num=3}", ("grid", "z"), Axis(num=3)),
        ("model.weights=a b.pt", ("model", "weights"), "a b.pt"),
        ("model.weights='3'", ("model", "weights"), "3"),
        ("output=a=b.h5", ("output",), "a=b.h5"),
        ("data.split=test", ("data", "split"), ("test",)),
        ('data.split=["train", "test"]', ("data", "split"), ("train", "test")),
        ("data.std=[1, 2.5]", ("data", "std"), (1.0, 2.5)),
        (" evaluate.precision = fp64 ", ("evaluate", "precision"), "fp64"),
        ("evaluate.metrics=top5 = m:f", ("evaluate", "metrics"), ("top5 = m:f",)),
        ("directions.y.kind=interpolate", ("directions", "y"), AxisDirection(kind="interpolate")),
    ],
)
def test_override(override: str, place: tuple[str, ...], value: object) -> None:
    found: object = config.parse(SMALLEST + "[grid]\ny = {num = 5}", [override])
    for name in place:
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize("override", ["grid.x.num", "=3", ".x=3", "grid..x=3", ""])
def test_malformed_override(override: str) -> None:
    assert "KEY=VALUE" in str(refused(SMALLEST, override))


def test_override_below_a_value() -> None:
    assert "'output' is a value, not a table" in str(refused(SMALLEST, "output.x=3"))


def test_overrides_reach_below_an_axis() -> None:
    made = config.parse(SMALLEST, ["directions.x.kind=interpolate", "directions.x.to=b.pt"])
    assert made.directions.x == AxisDirection(kind="interpolate", to="b.pt")
    assert made.directions.y == AxisDirection()


def test_with_seed() -> None:
    made = config.with_seed(config.parse(SMALLEST.replace("o.h5", "results/o.v2.h5")), 7)
    assert Path(made.output) == Path("results/o.v2_seed7.h5") and made.directions.seed == 7


def test_a_trail_decides_the_ranges_that_the_grid_leaves_open() -> None:
    trail = ['directions.trail="a.trail"']
    assert config.parse(SMALLEST).open_axes == ()
    assert config.parse(SMALLEST, trail).open_axes == ("x", "y")
    given = ["grid.x={min=0, max=2, num=3}", "grid.y={num=4}"]
    assert config.parse(SMALLEST, [*trail, *given]).open_axes == ("y",)
    resolved = dataclasses.replace(config.parse(SMALLEST, trail), open_axes=())
    assert config.parse(resolved.to_toml()) == resolved


@pytest.mark.parametrize("axis", ["", "x."])
def test_principal_axes_need_a_trail(axis: str) -> None:
    with pytest.raises(ConfigError, match=r"needs directions\.trail"):
        config.parse(SMALLEST, [f"directions.{axis}kind=pca"])


def test_with_seed_changes_nothing_else() -> None:
    before = config.parse(SMALLEST)
    after = config.with_seed(before, 0)
    assert dataclasses.replace(after, output=before.output) == before


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.lists(TEXT, max_size=3).map(tuple)
FINITE = st.floats(-1e307, 1e307)  # an axis may not be longer than a number can be
KINDS = st.sampled_from(["random", "interpolate", "file", "hessian"])
MODES = st.sampled_from(["filter", "layer", "weight", "dfilter", "dlayer", "none"])
SMALL = st.sampled_from(["zero", "copy", "random"])


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    low, high = sorted((draw(FINITE), draw(FINITE)))
    return Axis(low, high, draw(st.integers(1, 400)) if low < high else 1)


GRIDS = st.one_of(
    st.builds(Grid, axes()), st.builds(Grid, axes(), axes()), st.builds(Grid, axes(), axes(), axes())
)
OWN = st.builds(
    AxisDirection,
    kind=st.none() | KINDS,
    seed=st.none() | st.integers(0, 2**63 - 1),
    normalize=st.none() | MODES,
    bias_bn=st.none() | SMALL,
    include=st.none() | NAMES,
    exclude=st.none() | NAMES,
    to=st.none() | TEXT,
    path=st.none() | TEXT,
)
CONFIGS = st.builds(
    Config,
    output=TEXT,
    model=st.builds(ModelConfig, TEXT, st.none() | TEXT),
    data=st.builds(
        DataConfig,
        TEXT,
        st.none() | TEXT,
        split=st.sampled_from([("train",), ("test",), ("train", "test"), ("test", "train")]),
        limit=st.none() | st.integers(1, 9),
        mean=st.none() | st.lists(FINITE, max_size=3).map(tuple),
    ),
    directions=st.builds(
        DirectionsConfig,
        kind=KINDS,
        seed=st.integers(0, 99),
        include=NAMES,
        to_y=st.none() | TEXT,
        trail=NAMES,
        x=OWN,
        z=OWN,
    ),
    grid=GRIDS,
    evaluate=st.builds(EvaluateConfig, loss=TEXT, objective=st.none() | TEXT, metrics=NAMES),
    schedule=st.builds(ScheduleConfig, tile=st.integers(1, 99), share_gpu=st.booleans()),
    store=st.builds(StoreConfig, sync_seconds=st.floats(0, 1e300)),
    train=st.none()
    | st.builds(
        TrainConfig,
        trail=st.none() | TEXT,
        drops=st.lists(st.integers(1, 300), max_size=3).map(tuple),
        micro_batch=st.none() | st.integers(1, 99),
        label_noise=st.floats(0, 1),
    ),
)


@given(CONFIGS)
def test_its_text_says_all_of_it(made: Config) -> None:
    assert config.parse(made.to_toml()) == made


def test_seeds_without_a_random_axis_are_refused():
    base = config.parse(SMALLEST, ['directions.kind="interpolate"', 'directions.to="b.pt"', "grid.x.num=3"])
    with pytest.raises(ConfigError, match="--seeds"):
        config.with_seed(base, 1)


def test_a_grid_too_large_to_hold_is_refused():
    with pytest.raises(ConfigError, match="at most 1e\\+08 points"):
        config.parse(SMALLEST, ["grid.x.num=10000000000"])


def test_a_sweep_s_output_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "sweep.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ConfigError, match="is an HDF5 file, perhaps the output of a sweep; expected a TOML"):
        config.load(path)
