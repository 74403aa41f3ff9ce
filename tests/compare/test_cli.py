"""`lsweep compare`: repeats, verdicts, refusals, and what it writes, from files of known surfaces."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch import environment, python
from scipy.stats import spearmanr

from lsweep import cli
from lsweep.compare import comparison, separation
from lsweep.compare.sweeps import networks, read
from lsweep.grid import Axis, Grid
from lsweep.store import Header, StoredDirections, reader, schema, validation
from lsweep.surface import Status

GRID = Grid(Axis(-1.0, 1.0, 11), Axis(-1.0, 1.0, 9))
RANDOM = {"kind": "random", "normalize": "filter", "bias_bn": "zero", "space": "weights"}


def write(
    path: Path,
    seed: int,
    *,
    weights: str = "w",
    source: str = "net",
    curvature: float = 1.0,
    ripple: float = 0.0,
    grid: Grid = GRID,
    recipe: Mapping[str, Any] = RANDOM,
    splits: tuple[str, ...] = ("train",),
    error: float = 0.5,
    **identity: Any,
) -> Path:
    """A finished sweep of exp(c·r²/2 + ripples), c and the ripples' phase a little different for each seed."""
    names = [metric + (f"_{s}" if k else "") for k, s in enumerate(splits) for metric in ("loss", "accuracy")]
    header = Header(
        grid,
        tuple(names),
        identity={
            "weights": weights,
            "directions": {name: f"{seed}{name}" for name in grid.names},
            "data": {split: f"{split}-images" for split in splits},
            "loss": "cross_entropy",
            **identity,
        },
        config=f'[model]\nsource = "{source}"\nweights = "{weights}.pt"\n',
        directions=StoredDirections(recipe={name: {**recipe, "seed": seed} for name in grid.names}),
    )
    schema.create(path, header)
    at = grid.coordinates(np.arange(grid.size))
    loss = np.exp(curvature * (1 + 0.01 * seed) * (at**2).sum(1) / 2 + ripple * np.sin(9 * at[:, 0] + seed))
    with h5py.File(path, "r+") as file:
        for name in names:
            values = loss if name.startswith("loss") else np.full(len(loss), 1 - error)
            file[name][...] = values.reshape(grid.shape)
        file["status"][...] = Status.DONE
    return path


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child process looks at each file first (`test_store_probe.py` is about that): it takes 0.3 s a file."""
    monkeypatch.setattr(reader, "look_first", lambda path, *calls: validation.require_file(path))


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Three repeats each of a smooth network and of a rough one that is as curved on the whole."""
    smooth = [write(tmp_path / f"smooth_seed{s}.h5", s) for s in (1, 2, 3)]
    rough = [
        write(tmp_path / f"rough_seed{s}.h5", s, weights="v", source="rough", ripple=0.3) for s in (1, 2, 3)
    ]
    return [str(path) for path in (*smooth, *rough)]


def told(files: list[str], *arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert cli.main(["compare", *files, "--format", "json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_repeats_belong_to_one_network_and_give_a_spread(two, capsys):
    found = told(two, capsys=capsys)
    assert [n["name"] for n in found["networks"]] == ["net", "rough"]
    assert [f["seed"] for f in found["networks"][0]["files"]] == ["1", "2", "3"]
    summary = found["networks"][0]["summary"]["log_curvature_x"]
    assert summary["mean"] == pytest.approx(1.02) and summary["deviation"] == pytest.approx(0.01)
    assert (summary["least"], summary["largest"]) == (pytest.approx(1.01), pytest.approx(1.03))
    (pair,) = found["pairs"]
    rough, error = pair["verdicts"]["roughness"], pair["verdicts"]["error_train"]
    assert rough["separated"] and rough["standardised"] > 2 and rough["chance"] == pytest.approx(2 / 20)
    assert not error["separated"] and error["standardised"] == 0.0
    assert pair["verdicts"]["log_curvature_y"]["separated"] is False
    assert set(pair["verdicts"]) == set(summary_keys(found)) - {
        "evaluated",
        "settled",
        "unknown",
        "nan",
        "infinite",
    }


def summary_keys(found: Any) -> list[str]:
    return list(found["networks"][0]["summary"])


def test_the_order_of_files_decides_the_order_of_networks(two, capsys):
    mixed = [two[3], two[0], two[4], two[1]]
    assert [n["name"] for n in told(mixed, capsys=capsys)["networks"]] == ["rough", "net"]


def test_text_is_aligned_and_says_what_is_apart(two, capsys):
    assert cli.main(["compare", *two]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    header = next(line for line in lines if "net, 3 directions" in line)
    column = header.index("rough, 3 directions")
    assert all(line[column - 1] == " " for line in lines[2 : lines.index("", 2)] if len(line) > column)
    assert any(line.startswith("roughness") and " yes +" in line for line in lines)
    assert "are disjoint by chance in up to 10 % of cases" in text
    assert max(map(len, lines)) <= 120


def test_many_networks_go_into_blocks(tmp_path, capsys):
    files = [
        str(write(tmp_path / f"{n}{s}.h5", s, weights=n, source=f"network_{n}", curvature=1 + k))
        for k, n in enumerate("abcd")
        for s in (1, 2)
    ]
    assert cli.main(["compare", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.startswith("roughness") for line in lines) > 2


def test_one_direction_has_no_spread(two, capsys):
    assert cli.main(["compare", two[0], two[3]]) == 0
    assert "--seeds 1-5" in capsys.readouterr().out
    verdict = told([two[0], two[3]], capsys=capsys)["pairs"][0]["verdicts"]["roughness"]
    assert verdict["separated"] is None and verdict["standardised"] is None and verdict["difference"] > 0


def test_csv_has_a_line_per_number_and_network(two, capsys):
    assert cli.main(["compare", *two, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    row = next(r for r in rows if r["number"] == "roughness" and r["network"] == "rough")
    assert row["repeats"] == "3" and row["apart_from"] == "net" and float(row["deviation"]) > 0
    assert {r["network"] for r in rows} == {"net", "rough"}


def test_output_and_figure(two, tmp_path, capsys):
    out, figure = tmp_path / "new" / "table.json", tmp_path / "panels.png"
    arguments = ["-o", str(out), "--figure", str(figure), "--name", "with", "--name", "without"]
    assert cli.main(["compare", *two, *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == [str(out), str(figure)]
    assert [n["name"] for n in json.loads(out.read_text())["networks"]] == ["with", "without"]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_json_on_standard_output_stays_json_beside_a_figure(two, tmp_path, capsys):
    assert told(two, "--figure", str(tmp_path / "panels.svg"), capsys=capsys)["pairs"]


def test_rank_correlation_with_the_test_error(tmp_path, capsys):
    files = [
        str(
            write(
                tmp_path / f"{n}.h5",
                1,
                weights=n,
                source=n,
                curvature=curvature,
                splits=("train", "test"),
                error=error,
            )
        )
        for n, curvature, error in (("a", 1.0, 0.3), ("b", 3.0, 0.1), ("c", 2.0, 0.2), ("d", 4.0, 0.05))
    ]
    found = told(files, capsys=capsys)
    assert found["spearman_with_test_error"]["log_curvature_x"] == pytest.approx(-1.0)
    given_errors = [part for error in ("4", "1", "2", "3") for part in ("--test-error", error)]
    found = told(files, *given_errors, capsys=capsys)
    assert found["networks"][0]["summary"]["error_test"]["mean"] == 0.04
    assert found["spearman_with_test_error"]["log_curvature_x"] == pytest.approx(-0.4)
    assert told(files[:2], capsys=capsys)["spearman_with_test_error"] == {}


def test_test_errors_from_elsewhere(two, capsys):
    found = told(two, "--test-error", "6.3", "--test-error", "13.3", capsys=capsys)
    assert list(found["numbers"]).index("error_test") == 1 + list(found["numbers"]).index("error_train")
    assert found["pairs"][0]["verdicts"]["error_test"]["separated"]


def test_lines_are_compared(tmp_path, capsys):
    files = [
        str(write(tmp_path / f"{n}.h5", 1, weights=n, grid=Grid(Axis(-1.0, 1.0, 21)))) for n in ("a", "b")
    ]
    found = told(files, capsys=capsys)
    assert "curvature_x" in found["numbers"] and "curvature_y" not in found["numbers"]
    assert [n["name"] for n in found["networks"]] == ["net (a)", "net (b)"]  # one source, two sets of weights


UNLIKE: dict[str, tuple[dict[str, Any], str]] = {
    "grid": ({"grid": Grid(Axis(-1.0, 1.0, 11), Axis(-1.0, 1.0, 11))}, r"in the grid: .* y -1…1 × 9 and"),
    "splits": ({"splits": ("train", "test")}, "in the splits: train and train, test"),
    "data": ({"data": {"train": "others"}}, "in the data: train train-images and train others"),
    "loss": ({"loss": "mse"}, "in the loss: cross_entropy and mse"),
    "normalisation": (
        {"recipe": {**RANDOM, "normalize": "layer"}},
        "normalize=filter .* and .*normalize=layer",
    ),
    "kind": ({"recipe": {"kind": "interpolate"}}, "and interpolate"),
    "statistics": ({"batchnorm": "recalibrate"}, "BatchNorm statistics: fixed and recalibrate"),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_what_is_unlike_is_refused_with_one_line(what, two, tmp_path, capsys):
    change, message = UNLIKE[what]
    other = write(tmp_path / "other.h5", 1, weights="o", source="other", **change)
    assert cli.main(["compare", two[0], str(other)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith(f"lsweep: error: {two[0]} and {other} differ in the ")
    assert re.search(message, said.err)
    assert cli.main(["compare", two[0], str(other), "--force"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("lsweep: warning: ") and "other" in said.out


def _pending(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["status"][0, :2] = Status.PENDING


def _damaged(path: Path) -> None:
    path.write_bytes(b"nothing of that kind")


def _strange(path: Path) -> None:
    """An identity that is valid JSON and nothing else."""
    with h5py.File(path, "r+") as file:
        file.attrs["identity"] = json.dumps({"weights": [1], "data": 7, "directions": None, "loss": {}})
        file["directions"].attrs["recipe"] = json.dumps({"x": 3, "y": {"kind": ["random"], "seed": {}}})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pending, "2 of 99 points are pending"),
        (_damaged, "not a readable HDF5 file"),
        (Path.unlink, "no file at"),
        (_strange, "differ in the data"),
    ],
)
def test_files_that_cannot_be_used(
    spoil: Callable[[Path], None], message: str, two: list[str], capsys: pytest.CaptureFixture[str]
):
    spoil(Path(two[1]))
    assert cli.main(["compare", *two]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


def test_a_strange_identity_can_be_forced(two, capsys):
    _strange(Path(two[1]))
    assert cli.main(["compare", *two, "--force"]) == 0
    assert "smooth" in capsys.readouterr().out


@pytest.mark.parametrize("fmt", ["text", "csv", "json"])
def test_what_files_say_of_themselves_is_escaped(fmt, tmp_path, capsys):
    names = {"source": r"net\u001b[2J\u202e", "splits": ("tr\x1b[2Jain",)}
    path = write(tmp_path / "a\udcff\n.h5", 1, **names)
    assert cli.main(["compare", str(path), "--format", fmt]) == 0
    out = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert r"net\x1b[2J" in out or r"net\\x1b[2J" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--depth", "-1"], "depth must be finite and >= 0"),
        (["--levels", "1,two"], "--levels must be numbers"),
        (["--levels", ","], "levels must be finite"),
        (["--metric", "los"], "no loss 'los' in smooth_seed1.h5 (did you mean 'loss'?)"),
        (["--name", "one"], "expected one name for each of the 2 networks, got 1"),
        (["--test-error", "5"], "expected one test error for each of the 2 networks"),
        (["--test-error", "500", "--test-error", "5"], "0 to 100 per cent, got 500"),
        (["--figure", "panels.gif"], "cannot draw into panels.gif"),
    ],
)
def test_bad_arguments(arguments, message, two, capsys):
    assert cli.main(["compare", two[0], two[3], *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


def test_the_same_sweep_twice_is_no_repeat(two, capsys):
    assert cli.main(["compare", two[0], two[1], two[0]]) == 2
    assert "hold the same network along the same directions" in capsys.readouterr().err


def test_only_random_directions_have_repeats(tmp_path):
    lines = [
        read(write(tmp_path / f"{s}.h5", s, recipe={"kind": "interpolate"}, grid=Grid(Axis(0.0, 1.0, 5))))
        for s in (1, 2)
    ]
    assert len(networks(lines)) == 2


def test_without_the_weights_hash_a_file_is_a_network_of_its_own(tmp_path):
    paths = [write(tmp_path / f"{s}.h5", s, weights="") for s in (1, 2)]
    assert [network.name for network in networks([read(path) for path in paths])] == ["1", "2"]


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-1, 1)), min_size=3, max_size=12))
def test_rank_correlation_is_spearmans(pairs):
    a, b = zip(*pairs, strict=True)
    ours = separation.rank_correlation(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_rank_correlation_leaves_out_what_is_not_defined():
    assert separation.rank_correlation([1, 2, math.nan, 3], [3, 2, 9, 1]) == -1.0
    assert math.isnan(separation.rank_correlation([1, 2, math.nan], [3, 2, 9]))


def test_a_verdict_needs_ranges_that_do_not_overlap():
    low, high = separation.summarise([1.0, 2.0, 3.0]), separation.summarise([3.5, 4.0, 4.5])
    verdict = separation.judge(low, high)
    assert verdict.separated and verdict.standardised == pytest.approx(2 / math.sqrt((1 + 0.25) / 2))
    assert not separation.judge(separation.summarise([1.0, 2.0, 3.6]), high).separated
    wide = separation.judge(separation.summarise([0.0, 1.0]), separation.summarise([1.1, 2.1]))
    assert not wide.separated and wide.chance == pytest.approx(1 / 3)


def test_numbers_without_any_spread_are_apart_if_they_differ():
    same, other = separation.summarise([0.1, 0.1, 0.1]), separation.summarise([0.2, 0.2])
    assert same.mean == 0.1 and same.deviation == 0.0
    assert separation.judge(same, other).separated and separation.judge(other, same).standardised == -math.inf
    assert not separation.judge(same, separation.summarise([0.1, 0.1])).separated


@given(st.integers(2, 4), st.integers(2, 4))
def test_chance_of_separated_ranges(n, m):
    """Of all ways to deal ranks to two groups, two leave one wholly below the other."""
    from itertools import combinations

    deals = list(combinations(range(n + m), n))
    apart = sum(max(d) - min(d) == n - 1 and (min(d) == 0 or max(d) == n + m - 1) for d in deals)
    a, b = separation.summarise(list(range(n))), separation.summarise(list(range(m)))
    assert separation.judge(a, b).chance == pytest.approx(apart / len(deals))


def test_comparing_in_python(two):
    found = comparison.compare([read(path) for path in two])
    assert found.verdicts[0, 1]["roughness"].separated and len(found.networks[1].sweeps) == 3


@pytest.mark.slow
def test_neither_torch_nor_mpi_is_needed(two, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['mpi4py'] = sys.modules['scipy'] = None\n"
        "from lsweep import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    done = python("-c", code, "compare", *two, "--figure", str(tmp_path / "a.png"), env=environment())
    assert done.returncode == 0, done.stderr
    assert "roughness" in done.stdout
