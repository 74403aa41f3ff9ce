"""No room, no permission, a failing disk: one line and status 2 or 75, nothing acknowledged is lost, and it goes on."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import acknowledging
import every_step
import killing
import mounts
import oracle
import project
import pytest
import stepping
from every_step import Ground, Walk
from launch import absent, environment, need_mpi, need_parallel_hdf5

from lsweep.store import probe
from lsweep.store.reader import read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SERIAL = Walk("gather", "gather")
SHARED = Walk("mpio", "mpio", ranks=2)


def one_line(said: str) -> str:
    """The one line of lsweep's; mpiexec adds remarks of its own."""
    assert "Traceback" not in said, said
    assert "HDF5-DIAG" not in said, said
    lines = [line for line in said.splitlines() if line.startswith("lsweep")]
    assert len(lines) == 1, said
    return lines[0]


def place_in(folder: Path, records: Path) -> killing.Place:
    """A place whose output lies directly in `folder`."""
    place = killing.Place(records)
    place.output = folder / "sweep.h5"
    return place


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    monkeypatch.setattr(probe, "require", acknowledging.trust)
    if shutil.which("cc") is None:
        absent("no C compiler for the interposer")
    return Ground(tmp_path, stepping.build(tmp_path))


@pytest.fixture(params=[SERIAL, SHARED], ids=["gather", "mpio"])
def walk(request: pytest.FixtureRequest) -> Walk:
    if request.param.ranks:
        need_mpi()
        need_parallel_hdf5()
    found: Walk = request.param
    return found


def test_no_room_for_the_file(tmp_path: Path) -> None:
    """A file system of every size, from one page on: refused as a whole, until there is room for all of it."""
    statuses = []
    with mounts.tmpfs(tmp_path / "small", "4k") as small:
        place = place_in(small, tmp_path / "run")
        for pages in range(1, 20):
            mounts.resize(small, f"{4 * pages}k")
            status, said = every_step.execute(SERIAL, place, {})
            statuses.append(status)
            if status == 0:
                break
            line = one_line(said)
            assert re.match(r"lsweep: error: cannot (lock|create) '.*sweep\.h5'", line), line
            assert os.strerror(errno.ENOSPC) in line, line
            assert said.strip() == line
            assert list(small.iterdir()) == []
        oracle.check(place.output, place.records, oracle.truth("3x2", 2))
        oracle.check_complete(place.output, oracle.truth("3x2", 2))
    assert statuses == [2] * (len(statuses) - 1) + [0]
    assert len(statuses) > 5


def test_the_command_itself(tmp_path: Path) -> None:
    """`lsweep sweep` of a network: no room for its file, then there is; then the folder cannot be written to."""
    project.make(tmp_path)
    command = [sys.executable, "-m", "lsweep", "sweep", "sweep.toml", "--quiet"]

    def sweep() -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=90
        )
        return done.returncode, done.stderr

    output = tmp_path / "out" / "sweep.h5"
    with mounts.tmpfs(output.parent, "12k"):
        full = (2, "lsweep: error: cannot create 'out/sweep.h5': No space left on device\n")
        assert sweep() == full
        assert list(output.parent.iterdir()) == []
        mounts.resize(output.parent, "1m")
        assert sweep() == (0, "")
        assert read(output).complete
        assert oracle.leftovers(output) == []
    with mounts.read_only(output.parent):
        assert sweep() == (2, "lsweep: error: cannot write to the folder 'out': Read-only file system\n")


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "tmpfs":
        with mounts.tmpfs(tmp_path / "disk", "1m") as place:
            yield place
    else:
        with mounts.ext4(tmp_path / "disk", tmp_path / "image", 4 << 20) as place:
            yield place


def test_the_disk_fills_up_in_mid_sweep(walk: Walk, disk: Path, tmp_path: Path) -> None:
    """The file's room is its own from the start, so the sweep does not notice; a later one is told, and waits.

    That holds where a file's blocks stay where they are: tmpfs, ext4, XFS. Where they do not (btrfs, ZFS, a quota
    on a shared file system that counts late) a write can fail in mid-sweep: see the injected errors below.
    """
    place = place_in(disk, tmp_path / "run")
    larger = replace(walk, grid="11x7", tile=1, metrics=4)
    expected = oracle.truth()
    words = [f"{name}={value}" for name, value in larger.options.items()]
    launcher = ["mpiexec", "-n", "2"] if walk.ranks else []
    command = [*launcher, sys.executable, str(killing.PROGRAM), str(place.output), str(place.records), *words]
    job = subprocess.Popen([*command, "seconds=0.02", "max=50"], env=environment(), stderr=subprocess.PIPE)
    while job.poll() is None and len(oracle.acknowledged(place.records, 4)) < 5:
        time.sleep(0.005)
    filler = mounts.fill(disk)
    assert os.statvfs(disk).f_bavail == 0
    assert 5 <= len(oracle.acknowledged(place.records, 4)) < 50  # in mid-sweep, that is
    _, said = job.communicate(timeout=60)
    assert job.returncode == 75, said
    assert oracle.check(place.output, place.records, expected) >= 50

    mounts.fill(disk)  # the room that the first one's lock took, too
    status, message = every_step.execute(larger, place, {})
    assert status == 2
    assert os.strerror(errno.ENOSPC) in one_line(message)
    assert oracle.check(place.output, place.records, expected) >= 50
    filler.unlink()
    assert every_step.execute(larger, place, {})[0] == 0
    shutil.rmtree(disk / "lost+found", ignore_errors=True)
    oracle.check_complete(place.output, expected)


ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@pytest.mark.mpi
@pytest.mark.parametrize("how", ["full", "fail"])
def test_a_write_that_fails(walk: Walk, how: str, ground: Ground) -> None:
    """Every write and every fsync after the file is there: from there on all ("full"), or this one alone ("fail")."""
    expected = oracle.truth(walk.grid, walk.metrics)
    statuses = []
    for victim in range(max(walk.ranks, 1)):
        mine = replace(walk, victim=victim)
        steps = [step for step in every_step.reference(mine, ground)[1] if step.number]
        in_sweep = [step for step in steps if Path(step.path).name == "sweep.h5" and not step.second]
        # What MPI-IO fails to write once the system writes: alone, only an fsync is worth a run.
        calls = ("fsync",) if walk.ranks and how == "fail" else (*stepping.WRITES, "fsync")
        for step in (step for step in in_sweep if step.call in calls):
            number = ERRORS[step.number % len(ERRORS)]
            place = ground.place()
            mark = place.records.parent / "reached"
            disturbance = {"rank": victim, "at": step.number, "do": how, "errno": number, "reached": mark}
            status, said = every_step.execute(
                mine, place, every_step.settings(mine, place, ground, **disturbance)
            )
            assert mark.exists()
            context = f"rank {victim}, {step.number}, {step}: status {status}, {said}"
            held = oracle.check(place.output, place.records, expected)
            complete = oracle.progress(place.output, expected)["pending"] == 0
            assert status == (0 if held == len(expected.status) else 75 if held else 2), context
            if status:
                line = one_line(said)
                assert str(place.output) in line, line
                assert os.strerror(number) in line, line
            statuses.append(status)
            every_step.resume(mine, place.output)
            assert oracle.check(place.output, place.records, expected) >= held
            oracle.check_complete(place.output, expected)
            assert complete or status, context
    assert 75 in statuses
    assert 2 in statuses or how == "fail"


def test_a_file_that_cannot_be_made(ground: Ground) -> None:
    """Every step of the creation fails, on a full disk: refused in one line, and nothing is left."""
    place, steps = every_step.reference(SERIAL, ground)
    creation = [step for step in steps if step.number and step.number < first_of_the_sweep(steps)]
    tried = 0
    for step in creation:
        if step.call not in (*stepping.WRITES, "fsync", "open"):
            continue
        place = ground.place()
        disturbance = {"at": step.number, "do": "full", "errno": errno.ENOSPC}
        settings = every_step.settings(SERIAL, place, ground, **disturbance)
        status, said = every_step.execute(SERIAL, place, settings)
        assert status == 2, f"{step.number} {step}: status {status}, {said}"
        assert os.strerror(errno.ENOSPC) in one_line(said)
        assert said.strip() == one_line(said)
        if Path(step.path) != place.output.parent:  # the folder's fsync comes after the name
            assert oracle.leftovers(place.output) == []
        every_step.resume(SERIAL, place.output)
        oracle.check_complete(place.output, oracle.truth("3x2", 2))
        tried += 1
    assert tried >= 6


def first_of_the_sweep(steps: list[stepping.Step]) -> int:
    return next(step.number for step in steps if step.size and Path(step.path).name == "sweep.h5")


@pytest.mark.mpi
def test_a_read_only_folder_and_file(walk: Walk, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    place = place_in(folder, tmp_path / "run")
    with mounts.read_only(folder):
        status, said = every_step.execute(walk, place, {})
        assert status == 2
        assert re.fullmatch(
            r"lsweep: error: cannot write to .*folder': Read-only file system", one_line(said)
        )
    status, said = every_step.execute(walk, place, {}, "max=2")
    assert status == 75, said
    before = place.output.read_bytes()
    with mounts.read_only(place.output):
        status, said = every_step.execute(walk, place, {})
        assert status == 2
        assert str(place.output) in one_line(said)
        assert "Read-only file system; change its permissions" in one_line(said)
        assert place.output.read_bytes() == before
        assert oracle.leftovers(place.output) == []
    assert every_step.execute(walk, place, {})[0] == 0
    assert oracle.check(place.output, place.records, oracle.truth("3x2", 2)) == 6
    oracle.check_complete(place.output, oracle.truth("3x2", 2))
