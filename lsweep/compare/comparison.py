"""Comparison of networks: their measures, the spread over directions, and which measures distinguish them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lsweep.compare.measures import Number, Settings, catalogue, measure
from lsweep.compare.separation import Summary, Verdict, judge, rank_correlation, summarise
from lsweep.compare.sweeps import Network, Sweep, networks
from lsweep.errors import InputError

TEST_ERROR = "error_test"
_DEFAULTS = Settings()


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison, as reported by `lsweep compare`.

    Attributes:
        settings: what was measured.
        numbers: the measures in the order of the tables; those defined for no file are left out.
        networks: in the order in which their files were given.
        values: per network, per file: key → value.
        summaries: per network: key → mean and spread.
        verdicts: (index of a network, index of a later one) → key → verdict, for the measures that are judged.
        correlations: key → Spearman's ρ between the networks' means and their test errors; empty for fewer than
            three networks with a test error.
    """

    settings: Settings
    numbers: tuple[Number, ...]
    networks: tuple[Network, ...]
    values: tuple[tuple[Mapping[str, float], ...], ...]
    summaries: tuple[Mapping[str, Summary], ...]
    verdicts: Mapping[tuple[int, int], Mapping[str, Verdict]]
    correlations: Mapping[str, float]


def compare(
    sweeps: Sequence[Sweep],
    settings: Settings = _DEFAULTS,
    names: Sequence[str] = (),
    test_errors: Sequence[float] = (),
) -> Comparison:
    """Measure the sweeps, group them by network, and judge every measure for every pair of networks.

    Args:
        sweeps: at least one; `lsweep.compare.sweeps.differences` lists what makes them incomparable.
        settings: what to measure.
        names: one per network, in order; by default from the configurations.
        test_errors: fractions in [0, 1], one per network, measured elsewhere; they replace those in the files.

    Raises:
        InputError: a surface cannot be measured, a sweep is given twice, or the number of names or errors is wrong.
    """
    groups = tuple(networks(sweeps, names))
    if test_errors and len(test_errors) != len(groups):
        raise InputError(
            f"expected one test error for each of the {len(groups)} networks, got {len(test_errors)}",
            key="test_error",
        )
    values = tuple(tuple(measure(sweep, settings) for sweep in group.sweeps) for group in groups)
    if test_errors:
        values = tuple(
            tuple({**v, TEST_ERROR: error} for v in group)
            for group, error in zip(values, test_errors, strict=True)
        )
    numbers = tuple(_present(catalogue(sweeps, settings), values, bool(test_errors)))
    summaries = tuple(
        {n.key: summarise([v.get(n.key, math.nan) for v in group]) for n in numbers} for group in values
    )
    judged = [n.key for n in numbers if n.judged]
    verdicts = {
        (a, b): {key: judge(summaries[a][key], summaries[b][key]) for key in judged}
        for a, b in combinations(range(len(groups)), 2)
    }
    return Comparison(
        settings, numbers, groups, values, summaries, verdicts, _correlations(summaries, judged)
    )


def _present(
    known: Sequence[Number], values: Sequence[Sequence[Mapping[str, float]]], test_error: bool
) -> list[Number]:
    """The measures that are defined for at least one file."""
    numbers = list(known)
    if test_error and TEST_ERROR not in [n.key for n in numbers]:
        place = 1 + max(k for k, n in enumerate(numbers) if n.key.startswith("error_"))
        numbers.insert(place, Number(TEST_ERROR, "test error, as given", percent=True))
    flat = [v for group in values for v in group]
    return [n for n in numbers if any(not math.isnan(v.get(n.key, math.nan)) for v in flat)]


def _correlations(summaries: Sequence[Mapping[str, Summary]], keys: Sequence[str]) -> dict[str, float]:
    if TEST_ERROR not in keys:
        return {}
    errors = [summary[TEST_ERROR].mean for summary in summaries]
    if sum(not math.isnan(error) for error in errors) < 3:
        return {}
    others = [key for key in keys if key != TEST_ERROR]
    return {key: rank_correlation([s[key].mean for s in summaries], errors) for key in others}
