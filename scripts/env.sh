# shellcheck shell=bash
# Sourced from the repository root by setup.sh, demo.sh and test.sh: .venv first, and an mpirun that starts anywhere.

PATH="$PWD/.venv/bin:$PATH"
export PATH
unset PYTHONHOME

# One thread per rank unless the caller says otherwise: two ranks on two cores must not fight over them.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# Open MPI 4 reads OMPI_MCA_*, Open MPI 5 PRTE_MCA_*; MPICH needs none of this.
# More ranks than cores is fine here, and unbound ranks don't all land on core 0 when two jobs run side by side.
export OMPI_MCA_rmaps_base_oversubscribe=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export OMPI_MCA_hwloc_base_binding_policy=none
export PRTE_MCA_hwloc_default_binding_policy=none
# Containers without CAP_SYS_PTRACE forbid the single-copy path, and Open MPI complains at every message.
export OMPI_MCA_btl_vader_single_copy_mechanism=none

# mpirun refuses root unless told twice. In a container root is all there is.
if [[ "$(id -u)" -eq 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
