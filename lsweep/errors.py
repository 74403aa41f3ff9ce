"""Exceptions and exit statuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_COMPLETE = 0
EXIT_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3
EXIT_STOPPED = 75  # EX_TEMPFAIL: some progress was made, run the same command again

_LONGEST = 2000  # characters of a message: a key of the input may be a megabyte long


class LsweepError(Exception):
    """Any error that lsweep raises by itself. The message is one line."""

    exit_status = EXIT_ERROR


class InputError(LsweepError):
    """The user's input is at fault; nothing was lost. `key` names the field, file or tensor where known."""

    exit_status = EXIT_BAD_INPUT

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(one_line(message))
        self.key = key


class ConfigError(InputError):
    """A key or a value of the configuration is wrong."""


class ModelError(InputError):
    """The network cannot be built, or is not one that can be swept."""


class CheckpointError(InputError):
    """A weights file is absent, damaged, unsafe, or does not fit the network."""


class DataError(InputError):
    """The data set is absent, damaged, or does not fit the network."""


class DirectionsError(InputError):
    """Directions cannot be made from the recipe, or their file does not fit the network."""


class FileFormatError(InputError):
    """A file is not what it should be: another program's, damaged, newer, or unsafe to read."""


class IdentityError(InputError):
    """An existing output belongs to another sweep. `field` names the first difference."""


class MissingExtra(InputError):
    """An optional dependency is not installed; the message says how to install it."""


class StoreError(LsweepError):
    """The output cannot be written any more: no room, no quota, a failing disk. `errno` where known."""

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.errno = errno


class LockError(LsweepError):
    """Another session has taken the output over; this one must not write any more."""


class DivergenceError(LsweepError):
    """A training's loss or weights are no longer finite; the checkpoints before that are."""


class PointError(LsweepError):
    """Too many points failed, or the centre did: the job is at fault, not the point."""


def one_line(text: str) -> str:
    """The text on one line and harmless to a terminal: white space folded, `printable`, cut where it is endless."""
    text = printable(" ".join(text.split()))
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"


def printable(text: str) -> str:
    """The text with every character escaped that does not print.

    What a file or a configuration says may hold a terminal's escape sequences, line breaks, or characters that
    turn the direction of writing; a path may hold bytes that are no text at all.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(word: str, options: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the closest option, or all options if none is close."""
    options = sorted(set(options))
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (valid: {', '.join(options)})" if options else ""
