"""Write the batch scripts in slurm/: templates to edit by hand, made from what `lsweep slurm` writes.

python scripts/slurm_templates.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from lsweep.slurm.script import END, MPIRUN, SRUN

FOLDER = Path(__file__).resolve().parent.parent / "slurm"

GPUS = """\
# One GPU per rank: ranks see all GPUs of their node, and lsweep gives each its own.
# (Not --gpus-per-task: mpirun's ranks would not get these.) Delete this line on nodes without GPUs.
#SBATCH --gpus-per-node=4"""

REQUEUE = """\
# A requeued job appends to the same log.
#SBATCH --open-mode=append
#SBATCH --requeue"""

ENVIRONMENT = """\
# module load openmpi hdf5    # whatever lsweep was set up with
if [[ -d "$PWD/.venv/bin" ]]; then
    export PATH="$PWD/.venv/bin:$PATH"
fi
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
"""

ARRAY = """\
if [[ $# -eq 1 ]]; then
    sweep=(lsweep sweep "$1" --seeds "$SLURM_ARRAY_TASK_ID")
else
    configs=("$@")
    sweep=(lsweep sweep "${configs[SLURM_ARRAY_TASK_ID]}")
fi
"""

TRAIN = """\
set -uo pipefail
if [[ $# -ne 2 ]]; then
    echo "usage: sbatch --array=1-N slurm/train_array.sbatch CONFIG.toml RUNS.txt" >&2
    exit 2
fi
config=$1
line=$(sed -n "${SLURM_ARRAY_TASK_ID:?start it with sbatch --array}p" "$2")
if [[ -z $line ]]; then
    echo "$2 has no line $SLURM_ARRAY_TASK_ID" >&2
    exit 2
fi
read -ra pairs <<<"$line"
sets=()
for pair in "${pairs[@]}"; do
    sets+=(--set "$pair")
done
"""

SINGLE, TASK = "$SLURM_JOB_ID", "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"


def sweep_template(name: str, first: list[str], launch: str, *, array: bool = False) -> str:
    """A template for sweeps: `first` says what it does and how it is submitted."""
    signal = "B:USR2" if "trap" in launch else "USR2"
    start = "--array=0-N " if array else ""
    given = "CONFIG.toml [CONFIG.toml ...]" if array else "CONFIG.toml [--set KEY=VALUE ...]"
    lines = [
        "#!/bin/bash",
        *(f"# {line}" for line in first),
        "# `lsweep slurm` writes such a script for one configuration, header and all.",
        "#SBATCH --job-name=lsweep",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --cpus-per-task=4",
        GPUS,
        "#SBATCH --time=04:00:00",
        f"#SBATCH --output=%x-{'%A_%a' if array else '%j'}.log",
        *(["# One sweep per task.", "#SBATCH --array=0-9"] if array else []),
        REQUEUE,
        "# Five minutes before the time limit, or up to 60 s earlier, the ranks are signalled to stop. "
        "Allow 3 points + 20 s.",
        f"#SBATCH --signal={signal}@300",
        "",
        "if [[ $# -eq 0 ]]; then",
        f'    echo "usage: sbatch {start}slurm/{name}.sbatch {given}" >&2',
        "    exit 2",
        "fi",
    ]
    command = ARRAY if array else 'sweep=(lsweep sweep "$@")\n'
    return "\n".join(lines) + f"\n{ENVIRONMENT}{command}{launch}{END.format(job=TASK if array else SINGLE)}"


def train_template() -> str:
    """A template for trainings side by side."""
    lines = [
        "#!/bin/bash",
        "# Many trainings side by side, one per line of a table. Edit the header, then:",
        "#   sbatch --array=1-4 slurm/train_array.sbatch my_training.toml runs.txt",
        "# where each line of runs.txt holds the settings in which one training differs from the configuration:",
        "#   train.batch_size=128  train.weight_decay=0    train.trail=results/small.trail",
        "#   train.batch_size=8192 train.weight_decay=5e-4 train.trail=results/large.trail",
        "#SBATCH --job-name=lsweep-train",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=4",
        "# Delete this line on nodes without GPUs.",
        "#SBATCH --gpus-per-task=1",
        "#SBATCH --time=04:00:00",
        "#SBATCH --output=%x-%A_%a.log",
        REQUEUE,
        "# Two minutes before the time limit, the training is signalled to finish its step and stop.",
        "#SBATCH --signal=USR2@120",
        "",
    ]
    launch = SRUN.format(mpi="none").replace(
        'srun --mpi=none --kill-on-bad-exit=1 "${sweep[@]}"',
        'srun --ntasks=1 lsweep train "$config" "${sets[@]}"',
    )
    launch = launch.replace(
        "# End the step if one rank dies. By default, the others would wait in MPI until the time limit.\n",
        "",
    )
    return "\n".join(lines) + f"\n{TRAIN}\n{ENVIRONMENT}{launch}{END.format(job=TASK)}"


def templates() -> dict[str, str]:
    """File name → text."""
    srun = SRUN.format(mpi="pmix")
    return {
        "sweep_srun.sbatch": sweep_template(
            "sweep_srun",
            ["A sweep with srun. Edit the header, then:", "  sbatch slurm/sweep_srun.sbatch my_sweep.toml"],
            srun,
        ),
        "sweep_mpirun.sbatch": sweep_template(
            "sweep_mpirun",
            [
                "A sweep with mpirun inside the allocation, for a Slurm without PMIx. Edit the header, then:",
                "  sbatch slurm/sweep_mpirun.sbatch my_sweep.toml",
            ],
            MPIRUN,
        ),
        "sweep_array.sbatch": sweep_template(
            "sweep_array",
            [
                "Many sweeps, one per task of a job array: over configurations, or over direction seeds. "
                "Edit the header, then:",
                "  sbatch --array=0-2%2 slurm/sweep_array.sbatch a.toml b.toml c.toml     # at most two at once",
                "  sbatch --array=0-9 slurm/sweep_array.sbatch my_sweep.toml               # seeds 0 to 9",
            ],
            srun,
            array=True,
        ),
        "train_array.sbatch": train_template(),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for file, text in templates().items():
        (folder / file).write_text(text)
