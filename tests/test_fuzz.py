"""Hostile input by the thousand, the same cases in every run of the same code: no traceback, no hang, no crash.

Other cases, and more of them: scripts/checks/fuzz.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import campaign

FEW = {
    "configuration": 75,
    "seeds": 50,
    "time limit": 50,
    "hdf5 bytes": 50,
    "hdf5 structure": 50,
    "foreign bytes": 50,
    "table bytes": 50,
    "npz bytes": 50,
    "npz structure": 50,
}
MANY = {
    "configuration": 4000,
    "seeds": 1000,
    "time limit": 1000,
    "hdf5 bytes": 2000,
    "hdf5 structure": 1000,
    "foreign bytes": 1000,
    "table bytes": 1000,
    "npz bytes": 1500,
    "npz structure": 1500,
    "checkpoint": 500,
    "figures": 100,
}
# What must have come about, or the cases are too tame (nothing refused) or too wild (nothing read to its end).
LEAST_SHARE = 0.02


def fuzz(name: str, cases: int, folder: Path) -> campaign.Tally:
    tally = campaign.run(name, cases, folder)
    assert tally.findings == []
    assert tally.cases >= 0.9 * cases  # hypothesis does not try a case twice
    for outcome in ("accepted", "refused"):
        assert tally.outcomes[outcome] >= LEAST_SHARE * cases, tally.outcomes
    return tally


@pytest.mark.parametrize("name", FEW)
def test_a_few_hostile_cases(name: str, tmp_path: Path) -> None:
    fuzz(name, FEW[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_many_hostile_cases(name: str, tmp_path: Path) -> None:
    fuzz(name, MANY[name], tmp_path)


def test_they_are_ten_thousand() -> None:
    assert sum(MANY.values()) >= 10_000
