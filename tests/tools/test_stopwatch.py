"""Where the time goes."""

from __future__ import annotations

from pathlib import Path

import project
import pytest
from launch import python

from lsweep.tools.stopwatch import Stopwatch, table


def test_a_span_inside_another_counts_for_itself() -> None:
    now = iter([0.0, 0.0, 1.0, 3.0, 10.0, 20.0, 21.0, 30.0])
    clock = Stopwatch(lambda: next(now))
    with clock.span("outer"), clock.span("inner"):
        pass
    with clock.span("inner"):
        pass
    assert clock.seconds == {"outer": 8.0, "inner": 3.0}
    assert clock.account() == {"outer": 8.0, "inner": 3.0, "everything else": 19.0}


def test_only_the_way_to_an_item_counts_not_what_is_done_with_it() -> None:
    now = iter([0.0, 0.0, 1.0, 5.0, 7.0, 20.0, 24.0])
    clock = Stopwatch(lambda: next(now))
    assert list(clock.each("taking", "ab")) == ["a", "b"]
    assert clock.seconds == {"taking": 7.0}


def test_the_table_names_the_slowest_rank() -> None:
    lines = table([{"a": 1.0, "b": 1.0}, {"a": 5.0, "c": 1.0}])
    assert [line.split() for line in lines[1:]] == [
        ["a", "75.00%", "3.000", "5.000", "1"],
        ["b", "12.50%", "0.500", "1.000", "0"],
        ["c", "12.50%", "0.500", "1.000", "1"],
    ]


@pytest.mark.slow
def test_a_sweep_says_where_its_time_went(tmp_path: Path) -> None:
    project.make(tmp_path)
    done = python("-m", "lsweep", "sweep", "sweep.toml", "--quiet", "--profile", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shares = {line[:26].strip(): line[26:].split()[0] for line in done.stderr.splitlines()}
    setting_up = {"importing modules", "network and data", "directions", "evaluator", "tuning"}
    assert {*setting_up, "scheduling", "evaluating points", "storing", "everything else"} <= set(shares)
    assert float(shares["everything else"].rstrip("%")) < 20
