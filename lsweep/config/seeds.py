"""Random seeds: their valid range, and lists of them as given on the command line."""

from __future__ import annotations

from lsweep.errors import ConfigError, InputError

MOST = 10_000  # output files; the seeds of 0-9999999999 would not even fit into memory


def parse(text: str) -> list[int]:
    """Parse "0-4" or "1,5,7" into seeds without duplicates, in the given order.

    Raises:
        InputError: the text is not a list of numbers and ranges, or it names too many seeds.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = (number.strip() for number in part.partition("-"))
        if not _is_seed(first) or (dash and not (_is_seed(last) and int(last) >= int(first))):
            raise InputError(f"--seeds takes numbers and ranges, as in 0-4 or 1,5,7; got {text!r}")
        named = range(int(first), int(last or first) + 1)
        if len(seeds) + len(named) > MOST:
            raise InputError(f"--seeds names more than {MOST} seeds: {text!r}")
        seeds |= dict.fromkeys(named)
    return list(seeds)


def _is_seed(text: str) -> bool:
    """Whether the text is a number of fewer than 20 digits: Python refuses to parse very long ones."""
    return text.isdecimal() and len(text) < 20


def check_seed(seed: int | None) -> None:
    """Check a seed. Raises ConfigError."""
    if seed is not None and not 0 <= seed < 2**63:  # the range that torch.Generator accepts
        raise ConfigError(f"a seed must be >= 0 and < 2^63, got {seed}", key="seed")
