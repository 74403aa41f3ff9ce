#!/usr/bin/env bash
# The benchmarks of a GPU, and figure 1 of [Li18] on 251 x 251 points of all 50,000 training images.
#
#   bash scripts/benchmarks/bench_gpu.sh [STEP ...]
#
# Steps: evaluator layers approximate full figure certify small; by default all. CIFAR-10 and the paper's networks are
# expected where results/figures/li2018_resnet56/*.toml say. RANKS (6) share the GPU: while one waits, another computes.
# Everything is written to FOLDER (results/bench/gpu), but `full`, which is what results/bench/approximate is checked against.
set -euo pipefail
cd "$(dirname "$0")/../.."

FOLDER=${FOLDER:-results/bench/gpu}
RANKS=${RANKS:-6}
IMAGES=${IMAGES:-50000}
POINTS=${POINTS:-251}
CERTIFIED=${CERTIFIED:-16}
THREADS=${OMP_NUM_THREADS:-2}
# shellcheck source=scripts/env.sh
source scripts/env.sh
export OMP_NUM_THREADS=$THREADS
networks=(resnet56 resnet56_noshort)
bounded=(--set 'evaluate.precision="auto"' --set evaluate.tolerance=0.02 --set evaluate.relative_error=0.02
    --set grid.refine.tolerance=0.02)
shared=(--set schedule.share_gpu=true --set "data.limit=$IMAGES")
mkdir -p "$FOLDER"

evaluator() {
    python3 scripts/benchmarks/bench_evaluator.py results/figures/li2018_resnet56/resnet56.toml --low tf32 bf16 \
        --examples "$IMAGES" --rounds 3 --output "$FOLDER/evaluator.json"
}

layers() {
    python3 scripts/benchmarks/bench_layers.py results/figures/li2018_resnet56/resnet56.toml --kinds fp32 tf32 bf16 \
        --output "$FOLDER/layers.json"
}

approximate() {
    for network in "${networks[@]}"; do
        python3 scripts/benchmarks/bench_approximate.py measure "$network" --ranks "$RANKS" --folder "$FOLDER" "${shared[@]}"
    done
}

# In TF32 where a sample of the same examples in fp32 says that it is within 0.1 %, in fp32 elsewhere.
full() {
    for network in "${networks[@]}"; do
        python3 scripts/benchmarks/bench_approximate.py full "$network" --ranks "$RANKS" --set schedule.share_gpu=true \
            --set 'evaluate.precision="tf32"' --set evaluate.tolerance=0.001
    done
}

figure() {
    for network in "${networks[@]}"; do
        mpirun -n "$RANKS" python3 -m lsweep sweep "results/figures/li2018_resnet56/$network.toml" "${shared[@]}" "${bounded[@]}" \
            --set "grid.x.num=$POINTS" --set "grid.y.num=$POINTS" --set "output=\"$FOLDER/fig1_$network.h5\"" --profile
    done
}

certify() {
    for network in "${networks[@]}"; do
        mpirun -n "$RANKS" python3 -m lsweep certify "results/figures/li2018_resnet56/$network.toml" "${shared[@]}" "${bounded[@]}" \
            --set grid.x.num=51 --set grid.y.num=51 --set "output=\"$FOLDER/$network.h5\"" --points "$CERTIFIED"
    done
}

small() {
    python3 scripts/benchmarks/bench_small_networks.py --rounds 3 --device cuda --output "$FOLDER/small_networks.json"
}

for step in "${@:-evaluator layers approximate full figure certify small}"; do
    for one in $step; do
        echo "== $(date +%T) $one"
        "$one"
    done
done
