"""Kill sweeps, at random times and at every step on the disk, and check that no completed point is lost.

    python scripts/checks/kill_matrix.py                    # at random: SIGKILL of ranks, launchers, everything
    python scripts/checks/kill_matrix.py --every-step       # before, after and in the midst of each step
    python scripts/checks/kill_matrix.py --report           # the tables again, from the runs on record

Writes what happened to every run, and the table, to the output folder. The tests do the same at a modest size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support")]
import acknowledging  # noqa: E402
import every_step  # noqa: E402
import kill_plans  # noqa: E402
import killing  # noqa: E402
import stepping  # noqa: E402

from lsweep.store import probe  # noqa: E402
from lsweep.tools import provenance  # noqa: E402

FELL = ("before creation", "mid-sweep", "after the last point", "too late")


def main() -> int:
    args = parse()
    os.nice(args.nice)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.report:
        return tell_again(args.output)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill_matrix-", dir=args.folder) as folder:
        rows = every(args, Path(folder)) if args.every_step else at_random(args, Path(folder))
    name = "every_step" if args.every_step else "random"
    report = {
        "environment": provenance.collect(),
        "mpi": mpi_version(),
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "seed": None if args.every_step else args.seed,
        "table": steps_table(rows) if args.every_step else random_table(rows),
        "wrong": [row for row in rows if row["wrong"]],
        "runs": rows,
    }
    (args.output / f"{name}.json").write_text(as_text(report))
    (args.output / "README.md").write_text(readme(args.output))
    return 1 if report["wrong"] else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every-step", action="store_true", help="walk the steps instead of random times")
    parser.add_argument("--report", action="store_true", help="kill nothing; write the tables once more")
    parser.add_argument("--runs", type=int, default=240, help="sweeps to kill in time, at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modes", nargs="+", default=["gather", "mpio"], choices=["gather", "mpio"])
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--jobs", type=int, default=2, help="sweeps at a time")
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--folder", help="where to sweep; the system's temporary folder by default")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "checks" / "kill_matrix")
    return parser.parse_args()


def tell_again(folder: Path) -> int:
    for name, table in (("random", random_table), ("every_step", steps_table)):
        path = folder / f"{name}.json"
        if path.exists():
            report = json.loads(path.read_text())
            path.write_text(as_text({**report, "table": table(report["runs"])}))
    (folder / "README.md").write_text(readme(folder))
    return 0


def at_random(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    def tell(result: killing.Result) -> None:
        plan = result.plan
        where = f"{plan.mode} on {plan.ranks}: {plan.victim} in the {plan.phase}"
        line = f"{result.fell}, {result.acknowledged} acknowledged {result.wrong and 'WRONG ' + result.wrong}"
        print(f"{where}: {line}", flush=True)

    plans = kill_plans.plans(args.seed, args.modes, args.ranks)
    results = killing.run_all(plans, folder, args.runs, tell, args.jobs)
    return [result.as_json() for result in results]


def every(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """At a larger size than in the tests: two more metrics, more batches, runs that cross rows."""
    rows = []
    probe.require = acknowledging.trust
    library = stepping.build(folder)
    for number, walk in enumerate(every_step.WALKS):
        if walk.mode not in args.modes:
            continue
        larger = replace(walk, grid="5x3", tile=4, metrics=4, begun=4 if walk.begun else 0)
        place = folder / str(number)
        ground = every_step.Ground(place, library, args.jobs)
        falls = []
        for fall in every_step.walk_all(larger, ground):
            falls.append(fall)
            print(f"{fall.walk}: {fall.blow} {fall.number} {fall.step} {fall.wrong}", flush=True)
        missed = every_step.spared(larger, falls, ground)
        rows += [fall.as_json() for fall in falls]
        rows += [{**falls[0].as_json(), "step": step, "wrong": "was spared"} for step in missed]
    return rows


def random_table(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Per mode and victim: where the blows fell, what was acknowledged, lost, and resumed as it should be."""
    head = ["mode", "killed", "runs", *FELL[:3], "too late (not counted)", "recorded points"]
    head += ["wrong", "resumed, equal"]
    table: list[list[Any]] = [head]
    keys = sorted({(row["mode"], row["victim"]) for row in rows})
    for key in [*keys, ("all", "")]:
        mine = [row for row in rows if key[0] == "all" or (row["mode"], row["victim"]) == key]
        fell = Counter(row["fell"] for row in mine)
        counted = [row for row in mine if row["fell"] != "too late"]
        table.append(
            [
                *key,
                len(counted),
                *(fell[name] for name in FELL),
                sum(row["acknowledged"] for row in counted),
                sum(bool(row["wrong"]) for row in mine),
                sum(not row["wrong"] for row in counted),
            ]
        )
    return table


def steps_table(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Per walk: runs killed by each blow, what was acknowledged, and what was wrong."""
    table: list[list[Any]] = [["sweep", *every_step.BLOWS, "killed in all", "recorded points", "wrong"]]
    table[0].append("resumed, equal")
    for walk in [*dict.fromkeys(row["walk"] for row in rows), "all"]:
        mine = [row for row in rows if walk in (row["walk"], "all") and (row["step"] or row["wrong"])]
        blows = Counter(row["blow"] for row in mine)
        held = sum(row["acknowledged"] for row in mine)
        wrong = sum(bool(row["wrong"]) for row in mine)
        table.append(
            [walk, *(blows[blow] for blow in every_step.BLOWS), len(mine), held, wrong, len(mine) - wrong]
        )
    return table


README = """# Killed sweeps

Points that the store reported as durable are recorded outside the sweep's file
(`tests/support/acknowledging.py`). After each kill, lsweep and h5py must be able to open the file, it must
contain the bits of every recorded point, and no point may count as done with other bits than the evaluator's.
After a resume it must equal the file of an uninterrupted sweep bit for bit in all metrics and the status,
with no other files left. "Wrong" counts the runs in which any of this failed.
"""
TITLES = {
    "random": (
        "At random times",
        """`python scripts/checks/kill_matrix.py`: SIGKILL of one rank, of rank 0, of the launcher, or of all processes
at once, during start-up, during the creation of the file, in mid-sweep and at the end. The sweep is resumed
with a different number of ranks, in half of the runs immediately, while orphaned ranks may still be alive.
Runs that had ended before the kill are not counted.""",
    ),
    "every_step": (
        "At every step",
        """`python scripts/checks/kill_matrix.py --every-step`: a library interposed below HDF5 and MPI-IO
(`tests/support/interposer.c`) kills one process before, after, or (for writes, when half is written) during each open,
write, fsync, rename, link, unlink and chmod in the sweep's folder, with one run per step, until a run ends normally.
Rank 0 records its session whenever a message from another rank arrives; these steps are tested separately ("its
sessions").""",
    ),
}


def readme(folder: Path) -> str:
    """What all reports in the folder say; written by this script alone."""
    text = README
    for name, (title, explained) in TITLES.items():
        path = folder / f"{name}.json"
        if path.exists():
            report = json.loads(path.read_text())
            text += f"\n## {title}\n\n{explained}\n\n{markdown(report['table'])}\n{measured(report)}\n"
            text += f"Every run: [`{name}.json`]({name}.json).\n"
    return text


def markdown(table: Sequence[Sequence[Any]]) -> str:
    head, *rows = ["| " + " | ".join(map(str, row)) + " |\n" for row in table]
    return head + "|---" * len(table[0]) + "|\n" + "".join(rows)


def measured(report: dict[str, Any]) -> str:
    where = report["environment"]
    packages = ", ".join(
        f"{name} {version}" for name, version in where["packages"].items() if name != "torch"
    )
    return (
        f"Measured {where['created'][:10]} at commit {where['commit'][:12]} in {report['minutes']} minutes on "
        f"{where['cores']} cores ({where['processor']}), {where['system']}; {report['mpi']}; "
        f"Python {where['python']}, {packages}."
    )


def mpi_version() -> str:
    said = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0]


def as_text(report: dict[str, Any]) -> str:
    """JSON with one line a run."""
    head = {key: value for key, value in report.items() if key != "runs"}
    rows = ",\n  ".join(json.dumps(row) for row in report["runs"])
    return json.dumps(head, indent=1)[:-2] + f',\n "runs": [\n  {rows}\n ]\n}}\n'


if __name__ == "__main__":
    sys.exit(main())
