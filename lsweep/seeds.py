"""Several direction seeds, as a command line names them."""

from __future__ import annotations

from lsweep.errors import InputError


def parse(text: str) -> list[int]:
    """The seeds of "0-4" or "1,5,7", each once, in the order in which they are named.

    Raises:
        InputError: it is neither numbers nor ranges.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not (last.isdecimal() and int(last) >= int(first))):
            raise InputError(f"--seeds takes numbers and ranges, as in 0-4 or 1,5,7; got {text!r}")
        seeds += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(seeds))
