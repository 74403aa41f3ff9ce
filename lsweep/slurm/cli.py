"""The verb `lsweep slurm`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsweep.errors import InputError
from lsweep.tools.arguments import add_overrides

if TYPE_CHECKING:
    from lsweep.config import Config
    from lsweep.slurm.script import Environment, Script, Sweeps

EPILOG = """examples:
  lsweep slurm resnet56.toml --account proj1 --time 04:00:00 --nodes 2 --gpus-per-node 4 | sbatch
  lsweep slurm resnet56.toml --seeds 0-9 --at-once 4 -o seeds.sbatch
  lsweep slurm a.toml b.toml c.toml --launcher mpirun --module openmpi --module hdf5

A job is signalled before its time limit, exits with status 75, and is requeued until its sweep is complete.
"""
# Options of sbatch that are copied to the header, with their help texts.
PLAIN = {
    "account": "account to charge",
    "partition": "partition to run in",
    "qos": "quality of service",
    "constraint": "features that the nodes must have",
    "nodes": "number of nodes (default: 1)",
    "ntasks-per-node": "ranks per node (default: one per GPU, else 1)",
    "cpus-per-task": "cores, and threads, per rank",
    "gpus-per-node": "[TYPE:]NUMBER of GPUs on each node",
    "mem": "memory per node, as in 64G",
    "time": "time limit of one run, as in 04:00:00 (default: the partition's)",
}


def add_parser(subparsers: Any) -> None:
    """Add the verb `slurm` to an argparse subparsers object."""
    parser = subparsers.add_parser(
        "slurm",
        help="print a batch script that runs a sweep to completion",
        description="Print a Slurm batch script for a sweep, or for a job array with several CONFIGs or --seeds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="configurations, TOML files")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the script to FILE")
    add_overrides(parser)
    parser.add_argument(
        "--seeds", metavar="A-B", help="one task per direction seed, for example 0-4 or 1,5,7"
    )
    parser.add_argument("--at-once", type=int, metavar="N", help="run at most N tasks of a job array at once")
    parser.add_argument(
        "--point-seconds", type=float, metavar="S", help="time per point, if none was measured yet"
    )
    parser.add_argument(
        "--launcher", default="srun", metavar="srun|mpirun", help="launcher of the ranks (default: srun)"
    )
    parser.add_argument("--mpi", default="pmix", metavar="TYPE", help="value of srun's --mpi (default: pmix)")
    parser.add_argument("--job-name", metavar="NAME", help="name of the job (default: from CONFIG)")
    for name, text in PLAIN.items():
        parser.add_argument(f"--{name}", metavar="V", help=text)
    parser.add_argument("--log", metavar="PATTERN", help="file for the job's output, as in logs/%%x-%%j.log")
    parser.add_argument(
        "--sbatch", action="append", default=[], metavar="KEY=VALUE", help="another option of sbatch"
    )
    parser.add_argument("--module", action="append", default=[], metavar="NAME", help="module to load")
    parser.add_argument(
        "--venv", metavar="DIR", help="virtual or conda environment (default: the one of this lsweep)"
    )
    parser.add_argument(
        "--container", metavar="IMAGE", help="run in this image with apptainer or singularity"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the script. Raises InputError."""
    from lsweep.tools import files

    script = make(args)
    _warn(script, args)
    if args.output is None:
        sys.stdout.write(script.text())
    else:
        files.write_bytes(Path(args.output), script.text().encode())
        print(args.output)
    return 0


def make(args: argparse.Namespace) -> Script:
    """The script, with every value validated. Raises InputError."""
    from lsweep.slurm import lead_time
    from lsweep.slurm.header import checked, one_of
    from lsweep.slurm.script import Script

    sweeps, configs = _sweeps(args)
    if args.point_seconds is not None and not 0 < args.point_seconds < float("inf"):
        raise InputError(f"--point-seconds must be > 0, got {args.point_seconds}", key="--point-seconds")
    if args.at_once is not None and (args.at_once < 1 or not sweeps.tasks):
        raise InputError(
            f"--at-once must be >= 1, for several CONFIGs or --seeds; got {args.at_once}", key="--at-once"
        )
    one_of("--launcher", args.launcher, ("srun", "mpirun"))
    return Script(
        sweeps=sweeps,
        lead=lead_time.choose(configs, args.point_seconds),
        header=_header(args, sweeps),
        environment=_environment(args),
        launcher=args.launcher,
        mpi=checked("mpi", args.mpi),
        at_once=args.at_once,
    )


def _sweeps(args: argparse.Namespace) -> tuple[Sweeps, list[Config]]:
    """What the script runs, and the configuration of each sweep; errors are reported before the job is queued."""
    from lsweep import config
    from lsweep.config import seeds
    from lsweep.slurm.header import printable
    from lsweep.slurm.script import Sweeps

    for what, texts in (("CONFIG", args.configs), ("--set", args.overrides)):
        for text in texts:
            printable(what, text)
    found = [config.load(path, args.overrides) for path in args.configs]
    numbers = seeds.parse(args.seeds) if args.seeds is not None else []
    if numbers and len(found) > 1:
        raise InputError(
            f"--seeds takes one CONFIG, got {len(found)}; omit --seeds for an array over CONFIGs",
            key="--seeds",
        )
    if numbers:
        found = [config.with_seed(found[0], seed) for seed in numbers]
    _apart(found)
    return Sweeps(tuple(args.configs), tuple(args.overrides), tuple(numbers)), found


def _apart(configs: Sequence[Config]) -> None:
    outputs = [os.path.realpath(config.output) for config in configs]
    twice = next((path for path in outputs if outputs.count(path) > 1), None)
    if twice is not None:
        raise InputError(
            f"two sweeps of the array would write {twice!r}; give each sweep a different output", key="output"
        )


def _header(args: argparse.Namespace, sweeps: Sweeps) -> tuple[tuple[str, str], ...]:
    from lsweep.slurm.header import checked, default_name, extra

    given = {name: getattr(args, name.replace("-", "_")) for name in PLAIN}
    given["nodes"] = given["nodes"] or "1"
    gpus = (
        checked("gpus-per-node", given["gpus-per-node"]).rpartition(":")[2] if given["gpus-per-node"] else "1"
    )
    given["ntasks-per-node"] = given["ntasks-per-node"] or gpus
    name = args.job_name or (
        "lsweep" if len(sweeps.configs) > 1 else default_name(Path(sweeps.configs[0]).stem)
    )
    lines = [("job-name", checked("job-name", name))]
    lines += [(option, checked(option, value)) for option, value in given.items() if value is not None]
    lines += [extra(text) for text in args.sbatch]
    log = args.log or ("%x-%A_%a.log" if sweeps.tasks else "%x-%j.log")
    return (*lines, ("output", checked("output", log, "--log")))


def _environment(args: argparse.Namespace) -> Environment:
    from lsweep.slurm.header import checked, printable
    from lsweep.slurm.script import Environment

    modules = tuple(checked("module", name, "--module") for name in args.module)
    prefix = None if args.container else own_environment()
    if args.venv is not None:
        prefix = os.path.abspath(printable("--venv", args.venv))
        # Folders inside a container cannot be checked from here.
        if not args.container and (":" in prefix or not os.path.isdir(f"{prefix}/bin")):
            raise InputError(
                f"--venv must be a folder that contains bin, without ':' in its path; got {prefix!r}",
                key="--venv",
            )
    container = printable("--container", args.container) if args.container is not None else None
    return Environment(modules, prefix, container, gpus=args.gpus_per_node is not None)


def own_environment() -> str | None:
    """The folder of the virtual or conda environment of this lsweep; None for the system's Python."""
    is_own = sys.prefix != sys.base_prefix or sys.prefix == os.environ.get("CONDA_PREFIX")
    return sys.prefix if is_own else None


def _warn(script: Script, args: argparse.Namespace) -> None:
    from lsweep.slurm.header import seconds
    from lsweep.slurm.lead_time import EARLY

    told = script.lead.seconds
    if args.time is not None and seconds(args.time) <= told + EARLY:
        _say(
            f"--time {args.time} may leave no time for computation: the ranks are signalled to stop {told} s before "
            f"the limit, or up to {EARLY} s earlier; give a longer --time or a more accurate --point-seconds"
        )
    folder = os.path.dirname(args.log or "")
    if folder and "%" not in folder and not os.path.isdir(folder):
        _say(
            f"there is no folder {folder!r} for the job's log; create it, or Slurm will end the job at its start"
        )


def _say(text: str) -> None:
    print(f"lsweep: warning: {text}", file=sys.stderr)
