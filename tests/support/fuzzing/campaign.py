"""A campaign: so many cases for one target, with what became of them."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from launch import environment

from fuzzing import configs, corpus, figures, structures, targets
from fuzzing.spoil import spoiled
from fuzzing.worker import ROOT, Outcome, Worker

# A case in one process takes milliseconds of its time; a hang there would end the test by its timeout.
SLOW = 5.0
CHUNK = 5000  # hypothesis remembers all that it tried; without a seed a second chunk would be the first
# Bytes, because hypothesis prefers small integers: the first of all changes and names.
STEPS = st.binary(min_size=6, max_size=24).map(
    lambda rng: [struct.unpack("<3H", rng[i : i + 6]) for i in range(0, len(rng) - 5, 6)]
)
EDITS = st.binary(min_size=8, max_size=40)


@dataclass
class Tally:
    """What became of the cases.

    Attributes:
        outcomes: kind → how many; "contained" are crashes and hangs of HDF5 of which `lsweep` says one line,
            "unmade" files that HDF5 did not survive making.
        findings: kind, words and the case, for all that should not have happened.
        seconds: how long it took.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())

    def add(self, outcome: Outcome, case: Any) -> None:
        """Count an outcome; keep the case if it is a finding."""
        self.outcomes[outcome.kind] += 1
        if outcome.kind not in ("accepted", "refused", "contained", "unmade"):
            self.findings.append((outcome.kind, outcome.words, case))


def run(name: str, cases: int, folder: Path, number: int | None = None) -> Tally:
    """Run a campaign.

    Args:
        name: one of `CAMPAIGNS`.
        cases: how many; fewer if the strategy has no more. Without a seed at most `CHUNK`.
        folder: for files.
        number: a seed; None for the same cases in every run.
    """
    assert number is not None or cases <= CHUNK
    strategy, check, close = CAMPAIGNS[name](folder)
    tally, started = Tally(), time.monotonic()

    def one(case: Any) -> None:
        tally.add(check(case), case)

    try:
        for start in range(0, cases, CHUNK):
            test = settings(
                max_examples=min(CHUNK, cases - start),
                derandomize=number is None,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(strategy)(one))
            (test if number is None else seed(f"{number} {start}")(test))()
    finally:
        close()
    tally.seconds = time.monotonic() - started
    return tally


Made = tuple[st.SearchStrategy[Any], Callable[[Any], Outcome], Callable[[], None]]


def _here(call: Callable[..., str]) -> Callable[..., Outcome]:
    """Run a target in this process."""

    def check(*case: Any) -> Outcome:
        started = time.process_time()
        try:
            words = call(*case)
        except Exception:
            return Outcome("raised", traceback.format_exc())
        if time.process_time() - started > SLOW:
            return Outcome("hung", f"{time.process_time() - started:.0f} s")
        return Outcome("refused" if words else "accepted", words)

    return check


def _configuration(folder: Path) -> Made:
    check = _here(targets.configuration)
    path = folder / "sweep.toml"
    return st.tuples(configs.files(), configs.OVERRIDES), lambda case: check(*case, path), _nothing


def _seeds(folder: Path) -> Made:
    return configs.SEEDS, _here(targets.seeds), _nothing


def _time_limit(folder: Path) -> Made:
    return configs.LIMITS, _here(targets.time_limit), _nothing


def _files(target: str, samples: list[corpus.Sample], folder: Path) -> Made:
    """Spoiled bytes of valid files."""
    worker, put = Worker(target), _Places(folder)

    def check(case: tuple[int, bytes]) -> Outcome:
        sample = samples[case[0]]
        path = put(spoiled(sample, case[1]), Path(sample.name).suffix)
        return _contained(path, worker.run(path)) if target in ("hdf5", "foreign") else worker.run(path)

    return st.tuples(st.integers(0, len(samples) - 1), EDITS), check, worker.close


def _hdf5_bytes(folder: Path) -> Made:
    sweep, newest, directions = corpus.hdf5(folder / "corpus")
    return _files("hdf5", [sweep, newest, directions, sweep, directions, sweep], folder)


def _hdf5_structure(folder: Path) -> Made:
    """Changes by HDF5 itself, in a process of their own: some of them it does not survive."""
    samples, put = corpus.hdf5(folder / "corpus"), _Places(folder)
    maker, worker = Worker("change"), Worker("hdf5")

    def check(case: tuple[int, list[tuple[int, int, int]]]) -> Outcome:
        path = put(samples[case[0]].content, ".h5")
        made = maker.run(path, case[1])
        return (
            _contained(path, worker.run(path)) if made.kind == "accepted" else Outcome("unmade", made.words)
        )

    def close() -> None:
        maker.close()
        worker.close()

    return st.tuples(st.integers(0, len(samples) - 1), STEPS), check, close


def _foreign_bytes(folder: Path) -> Made:
    return _files("foreign", corpus.foreign(folder / "corpus"), folder)


def _table_bytes(folder: Path) -> Made:
    return _files("table", corpus.table(folder / "corpus"), folder)


def _npz_bytes(folder: Path) -> Made:
    return _files("npz", corpus.npz(folder / "corpus"), folder)


def _npz_structure(folder: Path) -> Made:
    worker, put = Worker("npz"), _Places(folder)
    return STEPS, lambda case: worker.run(put(structures.archive(case), ".npz")), worker.close


def _checkpoint(folder: Path) -> Made:
    return _files("checkpoint", corpus.checkpoints(folder / "corpus"), folder)


def _figures(folder: Path) -> Made:
    check = _here(figures.draw)
    return st.integers(0, 2**32 - 1), lambda number: check(number, folder), _nothing


def _nothing() -> None:
    pass


class _Places:
    """Writes files under ever new names: HDF5 and torch may keep something of a name."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._last, self._count = folder, folder / "none", 0

    def __call__(self, content: bytes, suffix: str) -> Path:
        self._last.unlink(missing_ok=True)
        self._count += 1
        self._last = self._folder / f"case{self._count}{suffix or '.h5'}"
        self._last.write_bytes(content)
        return self._last


# The public readers, each with its look in a child process before; a hang need not be waited for so long here.
_FRONT = """
import sys
from pathlib import Path
from lsweep.errors import FileFormatError
from lsweep.convert import recognise, released, released_paths
from lsweep.store import foreign, probe, reader
probe.CPU_SECONDS = 1
own = (reader.read, reader.read_identity, reader.read_directions)
others = (foreign.read_direction_file, released.read_surface, released_paths.read_projection)
for call in (*own, *others, recognise.read_plain, recognise.kind_of):
    try:
        call(Path(sys.argv[1]))
    except FileFormatError as error:
        assert str(error).isprintable()
"""


def _contained(path: Path, outcome: Outcome) -> Outcome:
    """A crash or hang of HDF5 is no finding where every public reader gets away with one line or none."""
    if outcome.kind not in ("crashed", "hung"):
        return outcome
    front = subprocess.run(
        [sys.executable, "-c", _FRONT, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(PYTHONPATH=f"{ROOT}"),
    )
    return Outcome(
        "contained" if front.returncode == 0 else outcome.kind, outcome.words + front.stderr[-500:]
    )


CAMPAIGNS: dict[str, Callable[[Path], Made]] = {
    "configuration": _configuration,
    "seeds": _seeds,
    "time limit": _time_limit,
    "hdf5 bytes": _hdf5_bytes,
    "hdf5 structure": _hdf5_structure,
    "foreign bytes": _foreign_bytes,
    "table bytes": _table_bytes,
    "npz bytes": _npz_bytes,
    "npz structure": _npz_structure,
    "checkpoint": _checkpoint,
    "figures": _figures,
}
