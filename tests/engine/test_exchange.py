"""Refined sweeps whose points are sampled by their neighbours: the same bits, however often they are stopped."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import COUNT, Sampled

from lsweep.comm import SerialComm
from lsweep.engine import loop
from lsweep.engine.exchange import ENTRY, RECORD, ExampleCache, Exchange
from lsweep.engine.plan import Options, Plan
from lsweep.engine.session_monitor import Outcome
from lsweep.evaluate.sampling.example_losses import MeasuredLosses
from lsweep.grid import Axis, Grid, Refine
from lsweep.store import Header, open_store
from lsweep.surface import Status, Surface

GRID = Grid(Axis(-1.0, 1.0, 33), Axis(-1.0, 1.0, 18), refine=Refine(0.02))
IDENTITY = {"weights": "abc"}


def cache_of(path: Path) -> ExampleCache:
    return ExampleCache(path, IDENTITY, GRID.size, {"train": COUNT})


def session(
    path: Path | None, *, tile: int = 1, neighbours: bool = True, **options: Any
) -> tuple[Outcome, Surface, Sampled]:
    plan = Plan(str(path), GRID, tile=tile)
    evaluator, comm = Sampled(GRID), SerialComm()
    evaluator.neighbours.idle = not neighbours
    exchange = Exchange(comm, evaluator.neighbours, path and cache_of(path)) if neighbours else None
    header = Header(GRID, Sampled.names, IDENTITY, columns=Sampled.columns)
    store = open_store(path, "memory" if path is None else "gather", comm, header, 1e9)
    outcome = loop.run(plan, Options(**options), comm, store, evaluator, exchange)
    store.close()
    surface = store.surface()
    assert surface is not None
    return outcome, surface, evaluator


def same(a: Surface, b: Surface) -> None:
    np.testing.assert_array_equal(a.status, b.status)
    np.testing.assert_array_equal(a.columns["examples"], b.columns["examples"])
    for name in a.metrics:
        np.testing.assert_array_equal(a.metrics[name], b.metrics[name])


@pytest.fixture(scope="module")
def whole() -> tuple[Outcome, Surface, Sampled]:
    """In memory, in one go."""
    return session(None)


def test_fewer_examples_and_the_same_surface(whole: tuple[Outcome, Surface, Sampled]) -> None:
    outcome, surface, evaluator = whole
    assert outcome.settled > 0 and set(evaluator.evaluated.values()) == {1}
    _, alone, _ = session(None, neighbours=False)
    both = surface.done & alone.done
    assert surface.columns["examples"][both].sum() < 0.7 * alone.columns["examples"][both].sum()
    truth = np.array([evaluator.losses(at).mean() for at in GRID.coordinates(np.arange(GRID.size))])
    off = np.abs(surface.loss / truth.reshape(GRID.shape) - 1)[surface.done]
    assert (off <= 0.03).mean() >= 0.97 and off.max() < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("tile", [1, 4])
@pytest.mark.parametrize("kept", [True, False])
def test_stopped_anywhere_and_resumed(
    tile: int, kept: bool, whole: tuple[Outcome, Surface, Sampled], tmp_path: Path
) -> None:
    """With what was kept nothing is evaluated again; without it, the same things are learned anew."""
    path = tmp_path / "o.h5"
    done, again = whole[0].done, 0
    for count in (7, 60, 150, done):
        outcome, surface, evaluator = session(path, tile=tile, max_points=count)
        again += sum(evaluator.evaluated.values()) - outcome.evaluated
        if outcome.pending and not kept:
            cache_of(path).remove()
    assert outcome.pending == 0
    assert (again == 0) == kept
    same(surface, whole[1])


def test_what_was_half_written_is_measured_again(
    whole: tuple[Outcome, Surface, Sampled], tmp_path: Path
) -> None:
    path = tmp_path / "o.h5"
    session(path, max_points=150)
    kept = cache_of(path).path
    kept.write_bytes(kept.read_bytes()[:-5])
    outcome, surface, evaluator = session(path)
    assert 0 < sum(evaluator.evaluated.values()) - outcome.evaluated < 150
    same(surface, whole[1])


def test_points_that_never_became_durable_are_forgotten(
    whole: tuple[Outcome, Surface, Sampled], tmp_path: Path
) -> None:
    """The power may fail between the cache, which needs no fsync, and the file, or the other way round."""
    path = tmp_path / "o.h5"
    session(path, max_points=150)
    lies = {
        int(point): {"train": MeasuredLosses(np.arange(9, dtype=np.int32), np.ones(9, dtype=np.float32))}
        for point in range(GRID.size)
    }
    cache = cache_of(path)
    list(cache.read())
    cache.append(lies)  # of points that are known, and of points that are not done
    _, surface, _ = session(path)
    same(surface, whole[1])


def test_complete_takes_the_rest_without(tmp_path: Path) -> None:
    path = tmp_path / "o.h5"
    _, refined, _ = session(path)
    outcome, surface, _ = session(path, neighbours=False, complete=True)
    assert outcome.pending == outcome.settled == 0 and surface.done.all()
    np.testing.assert_array_equal(surface.loss[refined.done], refined.loss[refined.done])
    assert (surface.columns["examples"][refined.status == Status.SETTLED] >= 100).all()


def losses(*points: int) -> dict[int, dict[str, MeasuredLosses]]:
    rng = np.random.default_rng(points)
    return {
        point: {
            split: MeasuredLosses(
                np.sort(rng.permutation(9)[:5]).astype(np.int32), rng.random(5, dtype=np.float32)
            )
            for split in ("train", "test")
        }
        for point in points
    }


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[p][s].examples, b[p][s].examples) and np.array_equal(a[p][s].losses, b[p][s].losses)
        for p in a
        for s in ("train", "test")
    )


def made(output: Path, identity: dict | None = None, points: int = 100) -> ExampleCache:
    return ExampleCache(output, identity or IDENTITY, points, {"train": 9, "test": 9})


def test_a_cache_is_read_as_it_was_written(tmp_path: Path) -> None:
    output = tmp_path / "a sweep.h5"
    records = [losses(3, 5), losses(7), losses(1, 2, 99)]
    cache = made(output)
    assert list(cache.read()) == []
    cache.append({})
    assert not cache.path.exists()
    for record in records[:2]:
        cache.append(record)
    again = made(output)
    found = list(again.read())
    again.append(records[2])
    assert all(map(equal, found, records[:2]))
    assert all(map(equal, list(made(output).read()), records))
    again.remove()
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_was_cut_anywhere(tmp_path: Path) -> None:
    records = [losses(3, 5), losses(7)]
    cache = made(tmp_path / "o.h5")
    ends = []
    for record in records:
        cache.append(record)
        ends.append(cache.path.stat().st_size)
    content = cache.path.read_bytes()
    for cut in range(0, len(content), 7):
        cache.path.write_bytes(content[:cut])
        reader = made(tmp_path / "o.h5")
        assert len(list(reader.read())) == sum(end <= cut for end in ends)
        reader.append(losses(8))
        found = list(made(tmp_path / "o.h5").read())
        assert equal(found[-1], losses(8)) and len(found) == 1 + sum(end <= cut for end in ends)


@pytest.mark.parametrize("where", [4, 45, 60, -3])
def test_a_cache_with_a_wrong_byte(where: int, tmp_path: Path) -> None:
    cache = made(tmp_path / "o.h5")
    cache.append(losses(3, 5))
    content = bytearray(cache.path.read_bytes())
    content[where] ^= 1
    cache.path.write_bytes(content)
    assert list(made(tmp_path / "o.h5").read()) == []


@settings(deadline=None)
@given(st.binary(max_size=80), st.integers(-2, 120), st.integers(0, 3), st.integers(0, 12))
def test_a_cache_that_lies(tail: bytes, point: int, split: int, count: int) -> None:
    """Its checksum is right, what it says is not: it ends there, and is no failure."""
    with tempfile.TemporaryDirectory() as folder:
        cache = made(Path(folder) / "o.h5")
        cache.append(losses(3))
        content = ENTRY.pack(point, split, count) + tail
        with cache.path.open("ab") as file:
            file.write(RECORD.pack(len(content), zlib.crc32(content)) + content)
        first, *others = made(Path(folder) / "o.h5").read()
        assert equal(first, losses(3))
        for record in others:
            for number, by_split in record.items():
                assert 0 <= number < 100 and set(by_split) <= {"train", "test"}
                assert all(((m.examples >= 0) & (m.examples < 9)).all() for m in by_split.values())


def test_another_sweeps_cache_is_none(tmp_path: Path) -> None:
    cache = made(tmp_path / "o.h5")
    cache.append(losses(3, 99))
    assert list(made(tmp_path / "o.h5", {"weights": "other"}).read()) == []
    assert list(made(tmp_path / "o.h5", points=50).read()) == []  # a point that there is not
    other = made(tmp_path / "o.h5", {"weights": "other"})
    list(other.read())
    other.append(losses(4))
    assert list(made(tmp_path / "o.h5").read()) == []


def test_a_cache_that_cannot_be_written_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = made(tmp_path / "o.h5")
    cache.path.mkdir()
    assert list(cache.read()) == []
    cache.append(losses(3))
    cache.append(losses(4))
    cache.remove()
    assert cache.path.is_dir()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cannot be written (it is not a regular file)" in caplog.text
