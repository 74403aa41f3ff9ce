"""SIGKILL before, after and in the midst of every step that the store takes on the disk, below HDF5 and MPI-IO."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import acknowledging
import every_step
import oracle
import pytest
import stepping
from every_step import BLOWS, WALKS, Ground, Walk
from launch import absent, need_mpi, need_parallel_hdf5

from lsweep.store import probe

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    monkeypatch.setattr(probe, "require", acknowledging.trust)
    if shutil.which("cc") is None:
        absent("no C compiler for the interposer")
    return Ground(tmp_path, stepping.build(tmp_path))


def need(walk: Walk) -> None:
    if walk.ranks:
        need_mpi()
    if walk.mode == "mpio":
        need_parallel_hdf5()


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.name)
def test_killed_at_every_step(walk: Walk, ground: Ground) -> None:
    need(walk)
    falls = list(every_step.walk_all(walk, ground))
    assert [fall for fall in falls if fall.wrong] == []
    assert every_step.spared(walk, falls, ground) == []
    points = len(oracle.truth(walk.grid, walk.metrics).status)
    for blow in BLOWS:
        mine = [fall for fall in falls if fall.blow == blow]
        assert not mine[-1].step  # it went on until there was no step left
        assert mine[-1].acknowledged == points
        # Its points become acknowledged on the way, batch by batch: the blows fell from the first to the last of these.
        # (How far the other ranks are meanwhile is their affair.)
        if walk.part != "sessions":
            held = {fall.own for fall in mine if fall.step}
            assert min(held) <= walk.begun, held
            assert mine[-1].own - walk.tile in held, held


@pytest.mark.parametrize("walk", [WALKS[0], WALKS[2]], ids=lambda walk: walk.mode)
def test_the_interposer_sees_all_that_is_written(walk: Walk, ground: Ground) -> None:
    """What it logged, played back, is the file, byte for byte: no write goes past it, none by a mapping."""
    need(walk)
    place, steps = every_step.reference(walk, ground)
    others = [stepping.read_log(place.records.parent / "log", rank) for rank in range(1, walk.ranks)]
    made: Mapping[str, bytes] = stepping.replay([*steps, *(step for other in others for step in other)])
    there = {str(path): path.read_bytes() for path in place.records.parent.rglob("*") if path.is_file()}
    there = {path: content for path, content in there.items() if "/log." not in path}
    assert made == there
    assert str(place.output) in there
