"""Reports of a comparison as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lsweep.compare.comparison import TEST_ERROR, Comparison
from lsweep.compare.measures import Number
from lsweep.compare.separation import LEAST_STANDARDISED, Summary, Verdict
from lsweep.errors import printable

_ONE_DIRECTION = (
    "One pair of directions does not show how much these measures vary with the directions. "
    "Run lsweep sweep CONFIG --seeds 1-5 for each network."
)
_APART = (
    "yes: the ranges over directions do not overlap, and the means differ by at least "
    f"{LEAST_STANDARDISED:g} pooled standard\ndeviations (the number after it: second minus first); ?: fewer than two "
    "repeats. Ranges of two networks that\ndo not differ are disjoint by chance in up to {chance:.2g} % of cases."
)
WIDTH = 120  # characters of a line of text; more networks or pairs go into further blocks


def to_text(comparison: Comparison) -> str:
    """Aligned tables: the measures of each network, the verdicts per pair, the correlations with the test error."""
    labels = [n.label for n in comparison.numbers]
    columns = [
        [
            _heading(network.name, len(network.sweeps)),
            *(_spread(n, summary[n.key]) for n in comparison.numbers),
        ]
        for network, summary in zip(comparison.networks, comparison.summaries, strict=True)
    ]
    parts = [_title(comparison), _blocks(["", *labels], columns)]
    if comparison.verdicts:
        parts += [_verdicts(comparison)]
    if comparison.correlations:
        parts += [_correlations(comparison)]
    return "\n\n".join(parts) + "\n"


def to_csv(comparison: Comparison) -> str:
    """One line per measure and network; shares as fractions; empty cells where a measure is not defined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["number", "network", "repeats", "mean", "deviation", "least", "largest", "apart_from", "spearman"]
    )
    for number in comparison.numbers:
        rho = comparison.correlations.get(number.key, math.nan)
        for index, (network, summary) in enumerate(
            zip(comparison.networks, comparison.summaries, strict=True)
        ):
            s = summary[number.key]
            numbers = [_plain(v) for v in (s.mean, s.deviation, s.least, s.largest)]
            apart = "; ".join(_apart_from(comparison, number, index))
            writer.writerow([number.key, network.name, s.count, *numbers, apart, _plain(rho)])
    return text.getvalue()


def to_json(comparison: Comparison) -> str:
    """The complete comparison with the values of every file; null where a measure is not defined or infinite."""
    table = {
        "settings": asdict(comparison.settings),
        "numbers": {n.key: n.label for n in comparison.numbers},
        "facets": comparison.networks[0].sweeps[0].facets,
        "networks": [_network(comparison, k) for k in range(len(comparison.networks))],
        "pairs": [
            {
                "first": comparison.networks[a].name,
                "second": comparison.networks[b].name,
                "verdicts": {key: asdict(verdict) for key, verdict in verdicts.items()},
            }
            for (a, b), verdicts in comparison.verdicts.items()
        ],
        "spearman_with_test_error": dict(comparison.correlations),
    }
    return json.dumps(_finite(table), indent=2, ensure_ascii=False) + "\n"


def _network(comparison: Comparison, index: int) -> dict[str, Any]:
    network, keys = comparison.networks[index], [n.key for n in comparison.numbers]
    files = [
        {
            "file": printable(str(sweep.path)),
            "seed": sweep.seed,
            "numbers": {k: values.get(k, math.nan) for k in keys},
        }
        for sweep, values in zip(network.sweeps, comparison.values[index], strict=True)
    ]
    summary = {key: asdict(value) for key, value in comparison.summaries[index].items()}
    return {"name": network.name, "files": files, "summary": summary}


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _apart_from(comparison: Comparison, number: Number, index: int) -> list[str]:
    return [
        comparison.networks[b if a == index else a].name
        for (a, b), verdicts in comparison.verdicts.items()
        if index in (a, b) and number.judged and verdicts[number.key].separated
    ]


def _title(comparison: Comparison) -> str:
    facets = comparison.networks[0].sweeps[0].facets
    metric, splits = comparison.settings.metric, comparison.networks[0].sweeps[0].splits
    name = f"loss ({splits[0]})" if metric == "loss" else metric
    return (
        f"{name} on {facets['grid']}; mean ± standard deviation (range) over directions; shares in per cent"
    )


def _heading(name: str, repeats: int) -> str:
    return name if repeats == 1 else f"{name}, {repeats} directions"


def _spread(number: Number, summary: Summary) -> str:
    factor = 100.0 if number.percent else 1.0
    mean, deviation, least, largest = (
        _short(factor * v) for v in (summary.mean, summary.deviation, summary.least, summary.largest)
    )
    if not summary.count:
        return "-"
    return mean if summary.least == summary.largest else f"{mean} ± {deviation} ({least} … {largest})"


def _verdicts(comparison: Comparison) -> str:
    judged = [n for n in comparison.numbers if n.judged]
    repeated = [min(len(comparison.networks[k].sweeps) for k in pair) > 1 for pair in comparison.verdicts]
    if not any(repeated):
        return _ONE_DIRECTION
    names = [network.name for network in comparison.networks]
    columns = [
        [f"{names[a]} : {names[b]}", *(_verdict(verdicts[n.key]) for n in judged)]
        for (a, b), verdicts in comparison.verdicts.items()
    ]
    chance = max(
        v.chance for vs in comparison.verdicts.values() for v in vs.values() if v.separated is not None
    )
    table = _blocks(["difference larger than the spread?", *(n.label for n in judged)], columns)
    return f"{table}\n\n{_APART.format(chance=100 * chance)}"


def _verdict(verdict: Verdict) -> str:
    if verdict.separated is None:
        return "-" if math.isnan(verdict.difference) else "?"
    word = "yes" if verdict.separated else "no"
    # The centre is the same for all directions: there is no spread, and any difference counts.
    return (
        f"{word}, no spread" if math.isinf(verdict.standardised) else f"{word:<4}{verdict.standardised:+.2g}"
    )


def _correlations(comparison: Comparison) -> str:
    labels = {n.key: n.label for n in comparison.numbers}
    rows = [(labels[key], rho) for key, rho in comparison.correlations.items() if not math.isnan(rho)]
    count = sum(summary[TEST_ERROR].count > 0 for summary in comparison.summaries)
    heading = [f"Spearman's ρ with the test error, {count} networks", *(f"{rho:+.2f}" for _, rho in rows)]
    return _blocks(["", *(label for label, _ in rows)], [heading])


def _blocks(first: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Columns side by side in blocks of at most `WIDTH` characters, each starting with the first column."""
    edge = max(map(len, first))
    blocks: list[list[Sequence[str]]] = []
    room = 0
    for column in columns:
        width = 2 + max(map(len, column))
        if not blocks or width > room:
            blocks.append([])
            room = WIDTH - edge
        blocks[-1].append(column)
        room -= width
    return "\n\n".join(_aligned([first, *block]) for block in blocks)


def _aligned(columns: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]
    return "\n".join(line.rstrip() for line in lines)


def _short(value: float) -> str:
    whole = abs(value) < 1e6 and value == round(value)  # a NaN is not
    return f"{value:.0f}" if whole else f"{value:.3g}"


def _plain(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
