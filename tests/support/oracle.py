"""What a sweep's file must hold, whatever happened to its writers: what was acknowledged, and nothing untrue.

The record of acknowledged points lies outside the file (see acknowledging.py), and the truth comes from the
evaluator itself, point by point, without any store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import acknowledging
import h5py
import numpy as np

from lsweep.store.reader import read
from lsweep.surface import Status


@dataclass(frozen=True)
class Truth:
    """What an uninterrupted sweep comes to.

    Attributes:
        names: the metrics.
        values: (size, metrics) float64; NaN where the evaluator fails.
        status: (size,) uint8.
    """

    names: tuple[str, ...]
    values: np.ndarray
    status: np.ndarray


@cache
def truth(grid: str = "11x7", metrics: int = 4, scenario: str = "sweep") -> Truth:
    """Evaluate every point of acknowledging.py's sweep by itself."""
    points = acknowledging.grid(grid)
    evaluator = acknowledging.Null(scenario, metrics=metrics)
    values = np.full((points.size, metrics), np.nan)
    status = np.full(points.size, Status.DONE, dtype=np.uint8)
    for index in range(points.size):
        try:
            values[index] = evaluator.evaluate(points.coordinates(np.array([index]))).values
        except ValueError:
            status[index] = Status.FAILED
    return Truth(evaluator.names, values, status)


def acknowledged(records: Path, metrics: int) -> np.ndarray:
    """All that has been acknowledged so far. A record that is being appended is none yet."""
    kind = acknowledging.record(metrics)
    found = [np.zeros(0, dtype=kind)]
    for path in records.glob("*.ack"):
        content = path.read_bytes()
        found.append(np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], dtype=kind))
    return np.concatenate(found)


def check(output: Path, records: Path, expected: Truth) -> int:
    """Hold a file to the record and to the truth, while its writers may still live.

    Returns:
        How many acknowledged points were found as they should be.

    Raises:
        AssertionError: something acknowledged is lost, or something untrue counts as done.
    """
    claims = acknowledged(records, len(expected.names))  # before the file is read: more may come meanwhile
    return check_claims(output, claims, expected)


def check_claims(output: Path, claims: np.ndarray, expected: Truth) -> int:
    """The same, given what was acknowledged."""
    if not output.exists():
        assert not len(claims), f"{len(claims)} points were acknowledged and there is no file"
        return 0
    values, status = stored(output, expected.names)
    for claim in claims:
        point = claim["point"]
        assert status[point] == claim["status"], (
            f"point {point}: status {status[point]}, was {claim['status']}"
        )
        if claim["status"] == Status.DONE:
            assert values[point].tobytes() == claim["values"].tobytes(), f"point {point} has other bits"
    assert np.isin(status, (Status.PENDING, Status.DONE, Status.FAILED)).all(), np.unique(status)
    done = status == Status.DONE
    assert values[done].tobytes() == expected.values[done].tobytes(), "a point counts as done and is wrong"
    surface = read(output, trusted=True)
    assert surface.status.tobytes() == status.tobytes()
    shown = np.stack([surface.metrics[name].reshape(-1) for name in expected.names], axis=1)
    assert shown[done].tobytes() == values[done].tobytes(), "lsweep's reader shows other bits"
    return len(claims)


def check_complete(output: Path, expected: Truth) -> None:
    """The file equals an uninterrupted one bit for bit, and nothing else was left beside it.

    Raises:
        AssertionError: naming what differs.
    """
    values, status = stored(output, expected.names)
    assert status.tobytes() == expected.status.tobytes(), f"status {status}"
    assert values.tobytes() == expected.values.tobytes(), "the values differ from an uninterrupted sweep's"
    assert leftovers(output) == [], f"left beside the file: {leftovers(output)}"


def stored(output: Path, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The raw values (size, metrics) and status (size,), by h5py alone."""
    with h5py.File(output, "r", locking=False) as file:
        values = np.stack([file[name][...].reshape(-1) for name in names], axis=1)
        return values, file["status"][...].reshape(-1)


def leftovers(output: Path) -> list[str]:
    """What lies beside the file, but for drafts of its lock: the next session removes these when they are old."""
    draft = re.compile(re.escape(output.name) + r"\.lock\.[0-9a-f]{32}")
    beside = [path.name for path in output.parent.iterdir() if path != output]
    return sorted(name for name in beside if not draft.fullmatch(name))


def progress(output: Path, expected: Truth) -> Mapping[str, int]:
    """How far a file is: its points by status, all zero where there is no file."""
    if not output.exists():
        return {"done": 0, "failed": 0, "pending": 0}
    _, status = stored(output, expected.names)
    return {s.name.lower(): int((status == s).sum()) for s in (Status.DONE, Status.FAILED, Status.PENDING)}
