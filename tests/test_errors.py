"""Messages are one harmless line, whatever they quote."""

from __future__ import annotations

import pytest

from lsweep.errors import InputError, one_line, printable


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\n  b\tc\r\n", "a b c"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J \x7f \x00", r"\x9b2J \x7f \x00"),
        ("evil\u202efdp.exe \u200b", r"evil\u202efdp.exe \u200b"),
        ("\udcff", r"\udcff"),
        ("α × θ* – 文", "α × θ* – 文"),
    ],
)
def test_what_does_not_print_is_escaped(said: str, shown: str) -> None:
    assert str(InputError(said)) == shown
    assert one_line(said).isprintable()


def test_printable_leaves_no_line_break() -> None:
    assert printable("a\nb c") == r"a\nb c"


def test_an_endless_message_is_cut_in_the_middle() -> None:
    message = str(InputError("a" * 10**6 + "z" * 10**6))
    assert len(message) < 2100 and message.startswith("aaa") and message.endswith("zzz")
