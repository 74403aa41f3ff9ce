"""Longer campaigns of hostile input than CI has time for, with a record of what became of the cases.

    python scripts/checks/fuzz.py --cases "configuration=50000,npz bytes=10000,hdf5 bytes=20000" --seed 1

Without names, `--cases N` runs N cases of each target. Prints a line per target and writes JSON; a case that should
not have ended as it did is kept beside it. Exit status: 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import pickle
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import h5py

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from fuzzing import campaign  # noqa: E402

from lsweep.tools import provenance  # noqa: E402


def main() -> int:
    args = _parser().parse_args()
    counts = _counts(args.cases)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    report = {"command": " ".join(sys.argv), "seed": args.seed, "environment": _environment(), "targets": {}}
    found = 0
    for name, cases in counts.items():
        with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
            tally = campaign.run(name, cases, Path(folder), args.seed)
        kept = [_keep(finding, args.output, name, i) for i, finding in enumerate(tally.findings)]
        found += len(kept)
        report["targets"][name] = {
            "cases": tally.cases,
            "seconds": round(tally.seconds, 1),
            "outcomes": dict(tally.outcomes.most_common()),
            "findings": kept,
        }
        print(f"{name}: {tally.cases} cases in {tally.seconds:.0f} s: {dict(tally.outcomes)}", flush=True)
        args.output.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if found else 0


def _keep(finding: tuple[str, str, object], output: Path, name: str, index: int) -> dict[str, str]:
    kind, words, case = finding
    path = output.with_name(f"{output.stem}_{name.replace(' ', '_')}_{index}.pickle")
    path.write_bytes(pickle.dumps(case))
    return {"kind": kind, "words": words[-2000:], "case": path.name}


def _counts(text: str) -> dict[str, int]:
    if text.isdecimal():
        return dict.fromkeys(campaign.CAMPAIGNS, int(text))
    counts = {
        name.strip(): int(number) for name, _, number in (part.partition("=") for part in text.split(","))
    }
    unknown = set(counts) - set(campaign.CAMPAIGNS)
    if unknown:
        sys.exit(f"fuzz: unknown targets {sorted(unknown)}; valid: {', '.join(campaign.CAMPAIGNS)}")
    return counts


def _environment() -> dict[str, object]:
    ours = {
        key: provenance.collect()[key]
        for key in ("lsweep", "commit", "python", "processor", "cores", "created")
    }
    libraries = {name: version(name) for name in ("h5py", "numpy", "torch", "safetensors", "hypothesis")}
    return {**ours, "system": platform.platform(), "libraries": libraries, "hdf5": h5py.version.hdf5_version}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases", default="1000", metavar="N|TARGET=N,…", help="of each target, or of some (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="other cases (default: 0)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "results/checks/fuzz/fuzz.json", help="the record"
    )
    parser.add_argument(
        "--scratch", type=Path, help="where files are made (default: the system's temporary folder)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
