"""What is fuzzed: functions that either work or refuse their input with a line that can be printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsweep.errors import InputError


def attempt(call: Callable[[], object]) -> str:
    """ "" if the call works, else its refusal, which must be one harmless line; any other error passes."""
    try:
        call()
    except InputError as error:
        message = str(error)
        assert message and message.isprintable() and len(message) < 2100, repr(message)
        return message
    return ""


def configuration(content: bytes, overrides: list[str], path: Path) -> str:
    """A configuration file and overrides: what is accepted says all of itself in TOML."""
    from lsweep import config

    path.write_bytes(content)

    def load() -> None:
        made = config.load(path, overrides)
        assert config.parse(made.to_toml()) == made

    return attempt(load)


def seeds(text: str) -> str:
    """The value of --seeds."""
    from lsweep import config
    from lsweep.config.seeds import parse

    base = config.parse('output = "o.h5"\nmodel.source = "a"\ndata.source = "b"')
    return attempt(lambda: [config.with_seed(base, seed) for seed in parse(text)[:3]])


def time_limit(text: str) -> str:
    """The value of --time-limit."""
    from lsweep.tools.stop import check_limit

    return attempt(lambda: check_limit(text))


def hdf5(path: Path) -> str:
    """Every reader of HDF5, here in this process, and what `lsweep status` says of a sweep."""
    from lsweep.render.field import title_of
    from lsweep.store.reader import read, read_directions, read_identity
    from lsweep.store.validation import read_direction_file
    from lsweep.watch.status import describe

    def sweep() -> None:
        surface = read(path, trusted=True)
        assert all(line.isprintable() for line in describe(surface).split("\n"))
        assert title_of(surface).isprintable()
        repr(surface)

    readers = (read_identity, read_directions)
    refused = [attempt(sweep), *(attempt(lambda: call(path, trusted=True)) for call in readers)]  # noqa: B023
    no_directions = attempt(lambda: read_direction_file(path, trusted=True))
    # A file of directions is no sweep, and a sweep need not have their tensors.
    return "" if all(refused) and not no_directions else "; ".join(filter(None, refused))


def foreign(path: Path) -> str:
    """Surfaces and trajectories of the released code, and plain arrays; what is read can be written."""
    from lsweep.convert import recognise, released, released_paths
    from lsweep.describe import describe

    def surface(read: Callable[..., Any]) -> None:
        made = read(path, trusted=True)
        assert all(line.isprintable() for line in describe(made).split("\n"))
        assert "<script" not in made._repr_html_()

    refused = [attempt(lambda: surface(read)) for read in (released.read_surface, recognise.read_plain)]  # noqa: B023
    refused.append(attempt(lambda: released_paths.read_projection(path, trusted=True)))
    unknown = attempt(lambda: recognise.kind_of(path, trusted=True))
    return unknown or ("; ".join(refused) if all(refused) else "")


def table(path: Path) -> str:
    """CSV in long form; what is read comes back the same."""
    from lsweep.convert import rows

    def there_and_back() -> None:
        made = rows.read(path)
        path.write_bytes(rows.encode(made))
        again = rows.read(path)
        assert again.loss.tobytes() == made.loss.tobytes() and (again.status == made.status).all()

    return attempt(there_and_back)


def npz(path: Path) -> str:
    """Images and labels."""
    from lsweep.data.npz import read

    return attempt(lambda: read(str(path), 2))


def checkpoint(path: Path) -> str:
    """Weights, and copying them into a network where they fit."""
    from small_models import conv_net

    from lsweep.models.checkpoint import fit, read

    return attempt(lambda: fit(conv_net(), read(path), "w"))


FILES: dict[str, Callable[[Path], str]] = {
    "hdf5": hdf5,
    "foreign": foreign,
    "table": table,
    "npz": npz,
    "checkpoint": checkpoint,
}
