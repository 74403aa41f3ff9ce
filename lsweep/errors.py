"""Exceptions and exit statuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_COMPLETE = 0
EXIT_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3
EXIT_STOPPED = 75  # EX_TEMPFAIL: some progress was made; run the same command again

_LONGEST = 2000  # characters in a message: a key in the input may be a megabyte long


class LsweepError(Exception):
    """Base class of the errors that lsweep raises. The message is one line."""

    exit_status = EXIT_ERROR


class InputError(LsweepError):
    """The user's input is invalid; no data were lost. `key` names the field, file or tensor if known."""

    exit_status = EXIT_BAD_INPUT

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(one_line(message))
        self.key = key


class ConfigError(InputError):
    """A key or a value of the configuration is wrong."""


class ModelError(InputError):
    """The network cannot be built or cannot be swept."""


class CheckpointError(InputError):
    """A weights file is missing, damaged, unsafe, or does not fit the network."""


class DataError(InputError):
    """The data set is missing, damaged, or does not fit the network."""


class DirectionsError(InputError):
    """Directions cannot be made from the recipe, or their file does not fit the network."""


class FileFormatError(InputError):
    """A file is not in the expected format: written by another program, damaged, newer, or unsafe to read."""


class IdentityError(InputError):
    """An existing output belongs to another sweep. `field` names the first difference."""


class MissingExtra(InputError):
    """An optional dependency is not installed; the message says how to install it."""


class StoreError(LsweepError):
    """Writing the output failed: the disk or quota is full, or the disk fails. `errno` is set if known."""

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.errno = errno


class LockError(LsweepError):
    """Another session has taken over the output; this one must stop writing."""


class DivergenceError(LsweepError):
    """The loss or the weights of a training are no longer finite; the checkpoints written before are finite."""


class PointError(LsweepError):
    """Too many points failed, or the centre did, so the fault lies with the job and not with single points."""


def one_line(text: str) -> str:
    """The text on one line and safe for a terminal: white space collapsed, `printable`, long text shortened."""
    text = printable(" ".join(text.split()))
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}"


def printable(text: str) -> str:
    """The text with all unprintable characters escaped.

    Text from a file or a configuration may contain terminal escape sequences, line breaks, or characters that
    reverse the direction of writing; a path may contain bytes that are not text.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(word: str, options: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the closest option, or all options if none is close."""
    options = sorted(set(options))
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (valid: {', '.join(options)})" if options else ""
