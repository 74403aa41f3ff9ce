"""`#SBATCH` lines. Values are restricted to what Slurm's options accept, because no shell unquotes them."""

from __future__ import annotations

import math
import re
import unicodedata

from lsweep.errors import InputError, nearest

_NAME = (r"\w[\w.,:@+-]*", "letters, digits and any of _ . , : @ + -")
_COUNT = (r"[1-9]\d*", "a whole number >= 1")
# Option → pattern of its value, and a description of the pattern.
RULES = {
    "job-name": _NAME,
    "account": _NAME,
    "partition": _NAME,
    "qos": _NAME,
    "constraint": (r"[\w\[(][\w.,:&|*()\[\]-]*", "features joined by & | , as in a100&nvlink"),
    "nodes": _COUNT,
    "ntasks-per-node": _COUNT,
    "cpus-per-task": _COUNT,
    "gpus-per-node": (r"(\w[\w.-]*:)?[1-9]\d*", "[TYPE:]NUMBER, as in 4 or a100:4"),
    "mem": (r"\d+[KMGT]?", "NUMBER[K|M|G|T], as in 64G"),
    "time": (r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", "MINUTES, [HH:]MM:SS or D-HH[:MM[:SS]], as in 04:00:00"),
    "output": (r"""[^"\\#]+""", 'a path without " \\ and #'),
    "mpi": (r"\w+", "what `srun --mpi=list` offers, as in pmix"),
    "module": (r"\w[\w./:+@-]*", "a module's NAME[/VERSION]"),
}
# Options that the script sets itself, with what to use instead.
_OURS = {
    "signal": "--point-seconds",
    "requeue": "nothing: a job that is not requeued stays incomplete",
    "no-requeue": "nothing: a job that is not requeued stays incomplete",
    "open-mode": "nothing: the log of a requeued job must be appended to",
    "array": "--seeds, or several CONFIGs, with --at-once",
    "ntasks": "--nodes and --ntasks-per-node",
    "output": "--log",
}
_EXTRA = (r"[^\s\"'\\#]+", "text without spaces, quotes, backslashes and #")
_UNITS = (1, 60, 3600, 86400)


def line(option: str, value: str) -> str:
    """One `#SBATCH` line.

    Raises:
        InputError: Slurm's option does not accept the value; the message lists the valid ones.
    """
    quoted = f'"{value}"' if " " in value else value
    return f"#SBATCH --{option}={quoted}" if value else f"#SBATCH --{option}"


def checked(option: str, value: str, flag: str = "") -> str:
    """The value, if Slurm's `option` accepts it.

    Args:
        option: a key of `RULES`.
        value: the user's input.
        flag: name of the command-line option, for the message.

    Raises:
        InputError: the value is invalid; the message describes valid ones.
    """
    pattern, words = RULES[option]
    printable(flag or f"--{option}", value)
    if not re.fullmatch(pattern, value, re.ASCII if option != "output" else 0):
        raise InputError(f"{flag or f'--{option}'} must be {words}; got {value!r}", key=option)
    return value


def extra(text: str) -> tuple[str, str]:
    """The option and value of an `--sbatch KEY[=VALUE]`.

    Raises:
        InputError: it does not have this form, or lsweep has its own option for it.
    """
    printable("--sbatch", text)
    key, equals, value = text.removeprefix("--").partition("=")
    if not re.fullmatch(r"[a-z][a-z0-9-]+", key) or (equals and not re.fullmatch(_EXTRA[0], value)):
        raise InputError(
            f"--sbatch must be KEY or KEY=VALUE with one of sbatch's long options and {_EXTRA[1]}, as in "
            f"mail-type=END; got {text!r}",
            key="--sbatch",
        )
    if key in _OURS or key in RULES:
        raise InputError(f"--sbatch {key}: use {_OURS.get(key, f'--{key}')}", key="--sbatch")
    return key, value


def printable(what: str, text: str) -> str:
    """The text, if it has no control characters.

    Raises:
        InputError: it has a newline or another control character, which cannot be part of a line in the script.
    """
    bad = [c for c in text if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029"]
    if bad:
        raise InputError(f"{what} must not contain control characters; got {text!a}", key=what)
    return text


def default_name(stem: str) -> str:
    """A job name derived from the name of a configuration; invalid characters become "_"."""
    return re.sub(r"\W", "_", stem.replace("-", "_"), flags=re.ASCII)[:64] or "lsweep"


def one_of(what: str, value: str, options: tuple[str, ...]) -> str:
    """The value, if it is one of the options. Raises InputError with the valid ones."""
    if value not in options:
        raise InputError(
            f"{what} must be {' or '.join(options)}, got {value!r}{nearest(value, options)}", key=what
        )
    return value


def seconds(time: str) -> float:
    """A Slurm time limit in seconds: "90" is minutes, "1:30" minutes and seconds, "1-2" days and hours."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, secs = (*parts, 0, 0)[:3]
        return float(int(days) * 86400 + hours * 3600 + minutes * 60 + secs)
    if len(parts) == 1:
        return parts[0] * 60.0 or math.inf  # 0 means no limit
    return float(sum(part * unit for part, unit in zip(reversed(parts), _UNITS, strict=False)))
