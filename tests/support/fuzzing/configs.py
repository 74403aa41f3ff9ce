"""Configurations: tables of odd values, texts that were cut and joined, overrides, seeds, time limits."""

from __future__ import annotations

import datetime
from typing import Any

import tomli_w
from hypothesis import strategies as st

from lsweep import config
from lsweep.config import Config

_WORDS = """
output model data directions grid evaluate schedule store source weights path split limit mean std kind seed
normalize bias_bn space include exclude to to_y keep x y z min max num loss metrics precision device tile mode
sync_seconds train filter random gather fp32 auto cross_entropy
"""
WORDS = st.sampled_from(_WORDS.split())
NUMBERS = st.one_of(
    st.integers(-3, 60),
    st.integers(),
    st.floats(),
    st.sampled_from([2**63, 2**63 - 1, -(2**63), 10**30, 1e308, -1e308]),
)
VALUES: Any = st.recursive(
    st.one_of(
        WORDS,
        NUMBERS,
        st.booleans(),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.sampled_from(["\x1b[31m", "\x00", "a/../b", "x" * 300, "π", "\u202e", "a:b", " ", "\x7f", "\x9b"]),
        st.just(datetime.datetime(2020, 1, 1)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)
PATHS = [
    "output", "model", "model.source", "model.weights", "data", "data.source", "data.path", "data.split", "data.limit",
    "data.mean", "data.std", "directions", "directions.kind", "directions.seed", "directions.normalize",
    "directions.include", "directions.x", "directions.x.kind", "directions.y.seed", "directions.z.to",
    "directions.keep",
    "grid", "grid.x", "grid.x.min", "grid.x.max", "grid.x.num", "grid.y", "grid.y.num", "grid.z", "evaluate",
    "evaluate.loss", "evaluate.metrics", "evaluate.precision", "evaluate.batch_size", "evaluate.max_failures",
    "schedule.tile", "schedule.share_gpu", "store.mode", "store.sync_seconds", "output.x", "nothing", "grid.nothing",
]  # fmt: skip
BASE = (
    Config("o.h5", config.ModelConfig("resnet20", "w.pt"), config.DataConfig("npz", "d.npz", mean=(0.5,)))
    .to_toml()
    .encode()
)
SNIPPETS = (
    b"[grid.x]\n", b"[[grid]]\n", b"a = ", b"= 1\n", b'"""', b"'''", b"\xff", b"\x00", b"\r", b"9" * 4400,
    b"0x" + b"f" * 5000,
    b"[" * 1200, b"{a=" * 1200, b"a." * 3000 + b"b = 1\n", b"num = 1e999\n", b"\xef\xbb\xbf", b"# \x1b[2J\n",
    b"\\u0000", b"inf",
    b"1979-05-27", b"x = nan\n", b'"\\uD800"',
)  # fmt: skip


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """The text of a configuration: some values changed, or some bytes."""
    if draw(st.booleans()):
        return tomli_w.dumps(draw(_tables())).encode("utf-8", "replace")
    content = bytearray(BASE)
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 40))
        content[start : start + length] = draw(st.sampled_from(SNIPPETS) | st.binary(max_size=8))
    return bytes(content)


@st.composite
def _tables(draw: st.DrawFn) -> dict[str, Any]:
    import tomllib

    table = tomllib.loads(BASE.decode())
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3)):
        *parents, last = path.split(".")
        place = table
        for part in parents:
            inner = place.get(part)
            place = inner if isinstance(inner, dict) else place.setdefault(part, {}) if inner is None else {}
        if draw(st.integers(0, 5)):
            place[last] = draw(VALUES)
        else:
            place.pop(last, None)
    return table


OVERRIDES = st.just([]) | st.lists(
    st.one_of(
        st.tuples(st.sampled_from(PATHS), VALUES.map(lambda v: tomli_w.dumps({"v": v})[4:].strip())).map("=".join),
        st.tuples(st.sampled_from(PATHS), st.text(max_size=9)).map("=".join),
        st.sampled_from(["grid.x.num=" + "9" * 5000, "output." + "a." * 3000 + "b=1", "a=" + "[" * 9000]),
        st.sampled_from(["=", "", "a.b", "grid.x.min=0x" + "f" * 999]),
        st.text(max_size=12),
    ),
    max_size=2,
)  # fmt: skip
SEEDS = st.one_of(
    st.text("0123456789-,  x²٣", max_size=12),
    st.sampled_from(
        [
            "0-99999999999999",
            "9" * 5000,
            "1," * 9999,
            "0-" + "9" * 30,
            "-",
            ",",
            "1-2-3",
            "4-0",
            "\x1b",
            "9" * 19,
        ]
    ),
    st.integers().map(str),
)
LIMITS = st.one_of(
    st.text("0123456789:- .", max_size=14),
    st.sampled_from(
        [
            "9" * 400,
            "1-" + "9" * 5000 + ":00:00",
            "٣:٤",
            "01:30:00",
            "1-00:00:00",
            "1-2:3",
            "\n",
            "\x1b",
            "1e9",
        ]
    ),
    st.integers().map(str),
)
