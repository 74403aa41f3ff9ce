"""The power fails at any moment: nothing acknowledged is lost, because fsync came before.

Played on the log of a sweep's steps (see power.py), since no test can pull the plug.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import acknowledging
import every_step
import numpy as np
import oracle
import power
import pytest
import stepping
from every_step import Ground, Walk
from launch import absent, need_mpi, need_parallel_hdf5
from stepping import Step

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(240)]
WALKS = {"gather": Walk("gather", "gather"), "mpio": Walk("mpio", "mpio", ranks=1)}


@pytest.fixture(scope="module", params=WALKS)
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Step]]:
    """A whole sweep, step by step: where its file was, and all that was done."""
    if request.param == "mpio":
        need_mpi()
        need_parallel_hdf5()
    if shutil.which("cc") is None:
        absent("no C compiler for the interposer")
    folder = tmp_path_factory.mktemp(request.param)
    place, steps = every_step.reference(WALKS[request.param], Ground(folder, stepping.build(folder)))
    return str(place.output), steps


def failures(
    output: str, steps: Sequence[Step], folder: Path, most: int | None = None
) -> tuple[int, list[str]]:
    """Fail the power after every step. Returns how many disks were looked at, and what was wrong on them.

    Args:
        output: where the sweep wrote its file.
        steps: all that it did.
        folder: where the disks' files may lie.
        most: be content with so many that were wrong.
    """
    expected = oracle.truth("3x2", 2)
    claims = np.zeros(0, dtype=acknowledging.record(2))
    disk, seen, wrong = power.Disk(), set(), []
    found = folder / "sweep.h5"
    for number, step in enumerate(steps):
        if step.path.endswith(".ack"):
            claims = np.concatenate([claims, np.frombuffer(step.data, dtype=claims.dtype)])
        elif step.result >= 0:
            disk.take(step)
        for content in disk.contents(output):
            if (content, len(claims)) in seen:
                continue
            seen.add((content, len(claims)))
            found.unlink(missing_ok=True)
            if content is not None:
                found.write_bytes(content)
            try:
                oracle.check_claims(found, claims, expected)
            except Exception as error:
                wrong.append(f"after {number} ({step}): {type(error).__name__}: {error}")
            if len(wrong) == most:
                return len(seen), wrong
    assert len(claims) == len(expected.status)
    return len(seen), wrong


def test_nothing_acknowledged_is_lost(log: tuple[str, list[Step]], tmp_path: Path) -> None:
    disks, wrong = failures(*log, tmp_path)
    assert wrong == []
    assert disks > 100  # that differ, in content or in what had been acknowledged by then


def fsyncs(steps: Sequence[Step], output: str) -> list[int]:
    """Positions of the file's fsyncs, and of the folder's. Its first, under its temporary name, is left out:
    without it the subsets of all writes that make the file are too many to look at."""
    places = (output, str(Path(output).parent))
    return [i for i, step in enumerate(steps) if step.call == "fsync" and step.path in places]


def test_every_fsync_is_needed(log: tuple[str, list[Step]], tmp_path: Path) -> None:
    """Leave any one out and something is lost: so the test above would see it."""
    output, steps = log
    places = fsyncs(steps, output)
    assert len(places) == 1 + 2 * 3  # the folder's, and two for each batch
    for place in places:
        _, wrong = failures(output, [*steps[:place], *steps[place + 1 :]], tmp_path, most=1)
        assert wrong, f"{steps[place]}, step {place}, is of no use"
