"""Round contour levels, and number formatting."""

from __future__ import annotations

import math

import numpy as np

# Steps within a decade, from dense to sparse; sparser still, whole decades are skipped. The page uses the same values.
DECADES = (
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1, 3),
    (1,),
)
EVERY = (1, 2, 3, 4, 5, 10, 15, 20, 25, 30, 40, 50, 100)
STEPS = (1, 2, 2.5, 5)
MOST_SHARED = 16  # lines per panel in a figure of several panels; with more, the rings of a bowl touch
SMALLEST = 1e-290  # leaves room for arithmetic above the smallest double


def round_levels(lo: float, hi: float, count: int, *, log: bool) -> np.ndarray:
    """About `count` round numbers strictly inside (lo, hi), increasing; at least one if lo < hi.

    On a log scale they are 1, 2, 5, … times powers of ten, as dense as fits the range; over less than about a quarter
    of a decade, they are equally spaced.
    """
    if is_flat(lo, hi):
        return np.array([])
    if log and hi / lo > 2:
        choices = [_log_levels(lo, hi, steps, 1) for steps in DECADES]
        choices += [_log_levels(lo, hi, (1,), every) for every in EVERY]
    else:
        choices = [_even_levels(lo, hi, step) for step in _steps_around((hi - lo) / count)]
    levels = min(choices, key=lambda levels: abs(len(levels) - count))
    return levels if len(levels) else np.array([math.sqrt(lo * hi) if log else (lo + hi) / 2])


def shared_levels(ranges: list[tuple[float, float]], count: int, *, log: bool) -> np.ndarray:
    """Common levels for several panels: uniformly dense if that suits each panel, else denser in the narrowest range.

    A bowl (0.05 to 10) next to a chaotic surface (0.5 to 1e6) would get only three rings with levels chosen for 0.05
    to 1e6. If the same steps per decade give the narrowest panel about `count` levels and the widest at most
    `MOST_SHARED`, these are used for all.
    """
    ranges = [(lo, hi) for lo, hi in ranges if not is_flat(lo, hi)]
    if not ranges:
        return np.array([])
    lo, hi = min(r[0] for r in ranges), max(r[1] for r in ranges)
    for steps in DECADES if log and len(ranges) > 1 else ():
        levels = _log_levels(lo, hi, steps, 1)
        numbers = [len(_inside(levels, *each)) for each in ranges]
        if max(numbers) <= MOST_SHARED and min(numbers) >= 0.75 * count:
            return levels
    all_over = round_levels(lo, hi, count, log=log)
    low, high = min(ranges, key=lambda r: math.log(r[1] / r[0]) if log else r[1] - r[0])
    inner = round_levels(low, high, count, log=log)
    outside = all_over[(all_over < inner[0] * (1 - 1e-9)) | (all_over > inner[-1] * (1 + 1e-9))]
    return np.union1d(inner, outside)


def is_flat(lo: float, hi: float) -> bool:
    """Whether a range is so narrow that the differences are rounding errors."""
    return not hi - lo > 1e-9 * max(abs(lo), abs(hi), SMALLEST)


def plain(value: float, percent: bool = False) -> str:
    """A number as a label: plain digits if they are few, else a power of ten (mathtext)."""
    if value != 0 and not 1e-3 <= abs(value) < 99999.5:
        mantissa, exponent = f"{value:.2e}".split("e")
        factor = float(mantissa)
        power = f"10^{{{int(exponent)}}}"
        return f"${power}$" if factor == 1 else rf"${factor:g}{{\times}}{power}$"
    return f"{value:.4g}%" if percent else f"{value:.5g}"


def _log_levels(lo: float, hi: float, steps: tuple[float, ...], every: int) -> np.ndarray:
    exponents = range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1)
    # float("1e-5") is the nearest double, 10.0**-5 need not be.
    levels = [float(f"{step}e{e}") for e in exponents if e % every == 0 for step in steps]
    return _inside(np.array(levels), lo, hi)


def _even_levels(lo: float, hi: float, step: tuple[float, int]) -> np.ndarray:
    width = float(f"{step[0]}e{step[1]}")
    counts = np.arange(math.floor(lo / width), math.ceil(hi / width) + 1)
    return _inside(np.array([float(f"{n * width:.12g}") for n in counts]), lo, hi)


def _steps_around(width: float) -> list[tuple[float, int]]:
    exponent = math.floor(math.log10(width))
    return [(step, e) for e in (exponent - 1, exponent, exponent + 1) for step in STEPS]


def _inside(levels: np.ndarray, lo: float, hi: float) -> np.ndarray:
    return levels[(levels > lo) & (levels < hi)]
