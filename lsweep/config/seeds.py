"""Lists of direction seeds as given on the command line."""

from __future__ import annotations

from lsweep.errors import InputError

MOST = 10_000  # files to be made; 0-9999999999 would not even fit into memory


def parse(text: str) -> list[int]:
    """The seeds of "0-4" or "1,5,7", each once, in the order in which they are named.

    Raises:
        InputError: it is neither numbers nor ranges, or it names too many.
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
    """Whether it is a number, and not so long that reading it alone is refused."""
    return text.isdecimal() and len(text) < 20
