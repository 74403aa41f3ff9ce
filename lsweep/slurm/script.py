"""Text of a batch script. `scripts/slurm_templates.py` makes the templates in `slurm/` from the same pieces."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Literal

from lsweep.slurm.header import line
from lsweep.slurm.lead_time import EARLY, Lead

SRUN = """
# Since Slurm 22.05, srun no longer inherits --cpus-per-task from the job.
export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-1}}"

# End the step if one rank dies. By default, the others would wait in MPI until the time limit.
srun --mpi={mpi} --kill-on-bad-exit=1 "${{sweep[@]}}"
status=$?
"""

MPIRUN = """
# The signal goes to this script ("B:"), which forwards it to mpirun, which forwards it to the ranks.
ranks="" told=""
trap 'told=1; [[ -z $ranks ]] || kill -USR2 "$ranks" 2>/dev/null' USR2
# Without binding: otherwise all threads of a rank would share the core that it is bound to.
mpirun -n "${SLURM_NTASKS:-1}" --bind-to none "${sweep[@]}" &
ranks=$!
wait "$ranks"
status=$?
# A trapped signal ends the wait early, while the ranks still finish their points.
while [[ -n $told ]]; do
    told=""
    wait "$ranks"
    status=$?
done
"""

END = """
# 75: stopped early with some progress, and resumable. A job cancelled in the meantime is COMPLETING; requeueing would
# revive it. (For the same reason TERM is not trapped here: scancel ends this script first.)
job="{job}"
if [[ $status -eq 75 && $(squeue --noheader --jobs="$job" --format=%T) != COMPLETING ]]; then
    scontrol requeue "$job"
fi
exit "$status"
"""


@dataclass(frozen=True)
class Sweeps:
    """What the script runs; with several configurations or seeds, each is a task of a job array.

    Attributes:
        configs: paths of configurations, as `lsweep sweep` takes them.
        overrides: the KEY=VALUE of `--set`.
        seeds: direction seeds, for one configuration.
    """

    configs: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def tasks(self) -> int:
        """How many tasks the job array has; 0 for a job that is not an array."""
        return len(self.seeds) or (len(self.configs) if len(self.configs) > 1 else 0)


@dataclass(frozen=True)
class Environment:
    """Where `lsweep` is found.

    Attributes:
        modules: names for `module load`.
        prefix: a virtual or conda environment's folder.
        container: an image for apptainer or singularity.
        gpus: whether a container gets the host's GPUs.
    """

    modules: tuple[str, ...] = ()
    prefix: str | None = None
    container: str | None = None
    gpus: bool = False


@dataclass(frozen=True)
class Script:
    """A batch script.

    Attributes:
        sweeps: what it runs.
        lead: how long before the time limit it is signalled to stop.
        header: options of sbatch, checked, in order.
        environment: where `lsweep` is found.
        launcher: what starts the ranks.
        mpi: how srun and MPI find each other.
        at_once: how many tasks of a job array may run at the same time; None for all.
    """

    sweeps: Sweeps
    lead: Lead
    header: tuple[tuple[str, str], ...] = ()
    environment: Environment = field(default_factory=Environment)
    launcher: Literal["srun", "mpirun"] = "srun"
    mpi: str = "pmix"
    at_once: int | None = None

    def text(self) -> str:
        """The whole script."""
        # The SLURM_JOB_ID of the last task of an array is the number of the array, which would requeue all tasks.
        job = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if self.sweeps.tasks else "$SLURM_JOB_ID"
        launch = SRUN.format(mpi=self.mpi) if self.launcher == "srun" else MPIRUN
        lines = "\n".join([*self._head(), "", *self._body()])
        return f"{lines}\n{launch}{END.format(job=job)}"

    def _head(self) -> list[str]:
        lines = [
            "#!/bin/bash",
            "# Made by `lsweep slurm`. Submit it from this folder: paths are relative to it.",
        ]
        lines += [line(option, value) for option, value in self.header]
        if self.sweeps.tasks:
            limit = f"%{self.at_once}" if self.at_once else ""
            lines += ["# One sweep per task.", line("array", f"0-{self.sweeps.tasks - 1}{limit}")]
        batch = "B:" if self.launcher == "mpirun" else ""
        return [
            *lines,
            "# A requeued job appends to the same log.",
            line("open-mode", "append"),
            line("requeue", ""),
            f"# {self.lead.seconds} s before the limit, or up to {EARLY} s earlier, the ranks are signalled to stop:",
            f"# {self.lead.why}.",
            line("signal", f"{batch}USR2@{self.lead.seconds}"),
        ]

    def _body(self) -> list[str]:
        lines = []
        if self.environment.modules:
            lines.append(f"module load {shlex.join(self.environment.modules)} || exit")
        if self.environment.prefix and not self.environment.container:
            lines.append(f'export PATH={shlex.quote(self.environment.prefix + "/bin")}:"$PATH"')
        return [*lines, 'export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"', *self._sweep()]

    def _sweep(self) -> list[str]:
        """The command as a bash array, which is safe for any path."""
        start = [*self._container(), self._program(), "sweep"]
        more = [shlex.quote(word) for pair in self.sweeps.overrides for word in ("--set", pair)]
        if len(self.sweeps.configs) > 1:
            configs = " ".join(map(_path, self.sweeps.configs))
            chosen = '"${configs[SLURM_ARRAY_TASK_ID]}"'
            return [f"configs=({configs})", f"sweep=({' '.join([*start, chosen, *more])})"]
        command = [*start, _path(self.sweeps.configs[0]), *more]
        if not self.sweeps.seeds:
            return [f"sweep=({' '.join(command)})"]
        seeds = " ".join(map(str, self.sweeps.seeds))
        chosen = '--seeds "${seeds[SLURM_ARRAY_TASK_ID]}"'
        return [f"seeds=({seeds})", f"sweep=({' '.join([*command, chosen])})"]

    def _container(self) -> list[str]:
        image = self.environment.container
        if not image:
            return []
        nv = ["--nv"] if self.environment.gpus else []
        return ['"$(type -P apptainer || type -P singularity || echo apptainer)"', "exec", *nv, _path(image)]

    def _program(self) -> str:
        # A container has its own PATH, so lsweep in an environment needs its full path there.
        inside = self.environment.prefix if self.environment.container else None
        return shlex.quote(f"{inside}/bin/lsweep") if inside else "lsweep"


def _path(path: str) -> str:
    return shlex.quote(f"./{path}" if path.startswith("-") else path)
