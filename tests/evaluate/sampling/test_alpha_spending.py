"""α over a point's looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from lsweep.evaluate.sampling.intervals import SHARES, spend_alpha


@given(st.floats(1e-6, 0.5))
def test_shares_add_up_and_critical_values_are_the_normals(alpha: float) -> None:
    found = spend_alpha(alpha)
    assert len(found) == len(SHARES)
    assert sum(level.alpha for level in found) == pytest.approx(alpha)
    for level in found:
        exact = norm.isf(level.alpha / 2)
        assert exact - 1e-12 <= level.critical <= exact + 1.0001e-4


def test_the_planned_look_has_the_most() -> None:
    first, planned, last = spend_alpha(0.05)
    assert planned.critical < first.critical < last.critical
    assert planned.critical == pytest.approx(norm.isf(0.0175), abs=1e-4)
