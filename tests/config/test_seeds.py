"""Seeds of a command line."""

from __future__ import annotations

import pytest

from lsweep.config.seeds import MOST, parse
from lsweep.errors import InputError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [3]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("1,5,7", [1, 5, 7]),
        (" 2 - 3 , 1", [2, 3, 1]),
        ("1,0-2", [1, 0, 2]),
    ],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "-", "a", "1-", "-1", "4-0", "1,,2", "1-2-3", "²", "9" * 5000, "0-" + "9" * 30]
)
def test_no_seeds(text: str) -> None:
    with pytest.raises(InputError, match="--seeds takes"):
        parse(text)


def test_too_many_seeds() -> None:
    assert len(parse(f"0-{MOST - 1}")) == MOST
    for text in (f"0-{MOST}", "0-99999999999", f"0-{MOST - 1},{MOST}-{MOST + 1}"):
        with pytest.raises(InputError, match="names more than"):
            parse(text)
