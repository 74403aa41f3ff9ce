"""What the scripts of the paper's figures share: configurations, lsweep's verbs on them, Slurm arrays, numbers.

A script describes its trainings and sweeps as tables; `Study.run` writes them as TOML files and runs them one after
another, each resumable, or with --slurm prints how to submit them as two job arrays.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

import lsweep
from lsweep import cli, config
from lsweep.models import trail
from lsweep.tools import provenance

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("LSWEEP_SHARED", "../shared"))
# The paper's networks: (125.3, 123.0, 113.9) / 255 and (63.0, 62.1, 66.7) / 255.
MEAN, STD = [0.49137255, 0.48235294, 0.44666667], [0.24705882, 0.24352941, 0.26156863]
SIZES = ("tiny", "small", "full")

Table = Mapping[str, Any]


def cifar10(images: int | None, *splits: str) -> dict[str, Any]:
    """The table [data]: the first `images` of each split, all for None."""
    named = {"train": "train_*.npz", "test": "test.npz"}
    paths = [str(SHARED / "data/cifar10" / named[split]) for split in splits]
    table = {"source": "npz", "path": paths[0], "split": list(splits), "mean": MEAN, "std": STD}
    table |= {"test_path": paths[1]} if len(splits) == 2 else {}
    return table | ({"limit": images} if images else {})


def axis(num: int, low: float = -1.0, high: float = 1.0) -> dict[str, Any]:
    return {"min": low, "max": high, "num": num}


def drops(epochs: int) -> list[int]:
    """The paper's drops, 150, 225 and 275 of 300 epochs, at the same shares of the training."""
    return [round(epochs * share) for share in (0.5, 0.75, 275 / 300)]


def counted(number: int, one: str, many: str) -> str:
    """The number with the word that goes with it."""
    return f"{number} {one if number == 1 else many}"


@dataclass(frozen=True)
class Study:
    """One figure at one size.

    Attributes:
        name: of the figure's folder.
        size: "tiny" (a smoke test), "small" (two cores, minutes) or "full" (the paper's).
        work: where configurations, trails and sweeps lie; figures of one size share it.
        out: where pictures and numbers go.
        slurm: options of sbatch, where jobs are to be printed instead of run.
        ranks: of a sweep.
    """

    name: str
    size: str
    work: Path
    out: Path
    slurm: Sequence[str] | None
    ranks: int

    def path(self, name: str, suffix: str) -> Path:
        """Of a run: its configuration (".toml"), trail (".trail") or sweep (".h5")."""
        return self.work / f"{name}{suffix}"

    def run(self, trainings: Mapping[str, Table], sweeps: Mapping[str, Table]) -> bool:
        """Run what is not done yet; False where it was printed as jobs instead. Ends the script where a run fails."""
        for name, table in {**trainings, **sweeps}.items():
            self._write(name, table, training=name in trainings)
        if self.slurm is not None:
            print(self._jobs(list(trainings), list(sweeps)), end="")
            return False
        for count, name in enumerate(trainings, 1):
            self._verb(f"training {count} of {len(trainings)}", "train", name)
        for count, name in enumerate(sweeps, 1):
            self._verb(f"sweep {count} of {len(sweeps)}", "sweep", name)
        return True

    def surface(self, name: str) -> lsweep.Surface:
        """A sweep that is complete."""
        return lsweep.open(self.path(name, ".h5"))

    def trail(self, name: str) -> trail.Trail:
        """A training that is complete."""
        return trail.read(self.path(name, ".trail"))

    def report(self, verb: str, name: str, *options: str) -> dict[str, Any]:
        """What a verb says of a configuration, as JSON (`lsweep trajectory`, `lsweep curvature`); kept beside it."""
        output = self.path(f"{name}_{verb}", ".json")
        if not output.exists():
            self._call(verb, str(self.path(name, ".toml")), *options, "-o", str(output))
        found: dict[str, Any] = json.loads(output.read_text())
        return found

    def write(
        self,
        *,
        drawn: str,
        found: Sequence[str],
        numbers: Any,
        names: Sequence[str],
        origins: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write numbers.json, from which the gallery takes its row.

        Args:
            drawn: what is to be seen, and of what size.
            found: sentences with numbers, as they stand beside the paper's.
            numbers: in full.
            names: trainings and sweeps that it rests on.
            origins: provenance of others.
        """
        made = [self.path(n, ".toml") for n in names if self.path(n, ".toml").exists()]
        origins = [*origins, *(o for n in names for o in self._origins(n))]
        table = {
            "size": self.size,
            "drawn": drawn,
            "found": list(found),
            "pictures": sorted(p.name for p in self.out.glob("*.png")),
            "commits": sorted({_short(str(o.get("commit", ""))) for o in origins}),
            "processor": provenance.collect()["processor"],
            "command": shlex.join(["python", *_relative(sys.argv)]),
            "configurations": {p.stem: config.load(p).to_toml() for p in made},
            "numbers": numbers,
        }
        text = json.dumps(_plain(table), indent=1, allow_nan=False)
        (self.out / "numbers.json").write_text(text + "\n")
        print("\n".join(found))
        print(self.out / "numbers.json")

    def _origins(self, name: str) -> list[Mapping[str, Any]]:
        origins = []
        if self.path(name, ".h5").exists():
            origins.append(self.surface(name).provenance)
        if trail.is_trail(self.path(name, ".trail")):
            origins.append(self.trail(name).provenance)
        return origins

    def _write(self, name: str, table: Table, *, training: bool) -> None:
        full = {"output": str(self.path(name, ".h5")), **table}
        if training:
            full["train"] = {"trail": str(self.path(name, ".trail")), **table["train"]}
        self.work.mkdir(parents=True, exist_ok=True)
        config.from_table(full)  # a bad one is refused before anything runs
        self.path(name, ".toml").write_text(tomli_w.dumps(full))

    def _verb(self, what: str, verb: str, name: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self.name}, {what}: {name}", file=sys.stderr, flush=True)
        self._call(verb, str(self.path(name, ".toml")))

    def _call(self, verb: str, *arguments: str) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if verb == "sweep" and self.ranks > 1:
            command = ["mpirun", "-n", str(self.ranks), sys.executable, "-m", "lsweep", verb, *arguments]
            status = subprocess.run(command).returncode
        else:  # in this process: torch takes seconds to load
            status = cli.main([verb, *arguments])
        if status:
            sys.exit(status)

    def _overrides(self, name: str) -> str:
        """A training as a line of what slurm/train_array.sbatch reads: KEY=VALUE without spaces."""
        pairs = []
        for section, table in tomllib.loads(self.path(name, ".toml").read_text()).items():
            own = table if isinstance(table, dict) else {"": table}
            for key, value in own.items():
                pairs.append(f"{section}{'.' * bool(key)}{key}={json.dumps(value, separators=(',', ':'))}")
        line = " ".join(pairs)
        assert len(line.split()) == len(pairs), f"a value with a space in it: {line}"
        return line

    def _jobs(self, trainings: Sequence[str], sweeps: Sequence[str]) -> str:
        """A shell script that submits one array of trainings, and one of sweeps that waits for it."""
        lines = [
            "#!/bin/bash",
            "# Run this from the repository; when all is done, the figure's script draws.",
        ]
        options = shlex.join(self.slurm or [])
        wait = ""
        if trainings:
            runs = self.work / f"{self.name}_runs.txt"
            runs.write_text("".join(f"{self._overrides(name)}\n" for name in trainings))
            words = shlex.join([str(self.path(trainings[0], ".toml")), str(runs)])
            lines.append(
                f"trainings=$(sbatch --parsable --array=1-{len(trainings)} {options} slurm/train_array.sbatch {words})"
            )
            wait = ' --dependency="afterok:$trainings"'
        if sweeps:
            configs = shlex.join(str(self.path(name, ".toml")) for name in sweeps)
            lines.append(f"lsweep slurm {configs} {options} | sbatch{wait}")
        return "\n".join(lines) + "\n"


def begin(name: str, description: str, sizes: Sequence[str] = SIZES) -> Study:
    """Read the command line, go to the repository and make the folders; only the small form's has the plain name."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=sizes, default="small")
    parser.add_argument("--work", type=Path, default=Path("build/paper"), help="trails and sweeps go there")
    parser.add_argument("--out", type=Path, default=Path("results/paper"), help="pictures and numbers")
    parser.add_argument("--ranks", type=int, default=1, help="of a sweep, under mpirun")
    parser.add_argument(
        "--slurm",
        metavar="OPTIONS",
        help="print how to submit everything as job arrays, with these options of `lsweep slurm` and sbatch: "
        '--slurm="--time=04:00:00 --gpus-per-node=1"',
    )
    args = parser.parse_args()
    os.chdir(ROOT)
    out = args.out / (name if args.size == "small" else f"{name}_{args.size}")
    for folder in (out, args.work / args.size):
        folder.mkdir(parents=True, exist_ok=True)
    slurm = None if args.slurm is None else shlex.split(args.slurm)
    return Study(name, args.size, args.work / args.size, out, slurm, args.ranks)


def _relative(words: Sequence[str]) -> list[str]:
    return [os.path.relpath(w, ROOT) if os.path.isabs(w) else w for w in words]


def _short(commit: str) -> str:
    number, dash, dirty = commit.partition("-")
    return number[:12] + dash + dirty


def _plain(value: Any) -> Any:
    """In JSON types; a number that is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (str, bool, int, type(None))):
        return value
    return float(value) if math.isfinite(value) else None
