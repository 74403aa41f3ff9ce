#!/usr/bin/env bash
# From nothing to pictures: set up, train a small network, sweep its loss landscape on two ranks, draw and export it.
# All results are under results/demo/. A second run resumes: it keeps the network and finds the sweep complete.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
# shellcheck source=scripts/env.sh
source scripts/env.sh

config=scripts/demo/digits.toml
out=results/demo
began=$SECONDS

echo
echo "== train a small convolutional network on the digits"
mkdir -p "$out"
python scripts/demo/train_digits.py
# A sweep belongs to its weights: that of an older network goes.
if [[ -e $out/digits.h5 && $out/digits.pt -nt $out/digits.h5 ]]; then
    rm -f "$out/digits.h5"
fi

echo
# An mpirun of another MPI than mpi4py's would start two worlds of one rank each.
two_ranks='from mpi4py import MPI; assert MPI.COMM_WORLD.size == 2'
if command -v mpirun >/dev/null && mpirun -n 2 python -c "$two_ranks" >/dev/null 2>&1 </dev/null; then
    echo "== sweep 51 x 51 points around it on two ranks: mpirun -n 2 lsweep sweep $config"
    mpirun -n 2 lsweep sweep "$config" </dev/null
else
    echo "== sweep 51 x 51 points around it on one process (no MPI starts here): lsweep sweep $config"
    lsweep sweep "$config"
fi
lsweep status "$out/digits.h5"

echo
echo "== draw and export"
lsweep render "$out/digits.h5" --kind contour -o "$out/digits_contour.png"
lsweep render "$out/digits.h5" --kind surface -o "$out/digits_surface.png"
lsweep export "$out/digits.h5" -o "$out/digits.vts"
lsweep export "$out/digits.h5" -o "$out/digits.vtp"

echo
echo "demo done in $((SECONDS - began)) s (set-up apart):"
for name in digits.pt digits.h5 digits_contour.png digits_surface.png digits.vts digits.vtp; do
    if [[ ! -s $out/$name ]]; then
        echo "demo: $out/$name is missing" >&2
        exit 1
    fi
    echo "  $PWD/$out/$name"
done
