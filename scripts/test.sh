#!/usr/bin/env bash
# Set up, then everything that must be green: format, lint, types, shell scripts, all tests.
# Arguments go to pytest: bash scripts/test.sh -m 'not slow'. With CI set, a skipped test is a failed one.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
bash scripts/setup.sh || exit
# shellcheck source=scripts/env.sh
source scripts/env.sh
case "${CI:-}" in "" | 0 | false) ci="" ;; *) ci=1 ;; esac

failed=()
# check NAME COMMAND...: runs it, remembers a failure and goes on, so that one run shows all that is wrong.
check() {
    local name=$1
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" </dev/null || failed+=("$name")
}

check format ruff format --check .
check lint ruff check .
check types mypy
if command -v shellcheck >/dev/null; then
    check shell shellcheck -x scripts/*.sh .ci/run slurm/*.sbatch
elif [[ -n $ci ]]; then
    echo "test: shellcheck is not installed" >&2
    failed+=(shell)
else
    echo "shellcheck is not installed: the shell scripts are not checked"
fi
check tests pytest "$@"

echo
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "test: failed: ${failed[*]}" >&2
    exit 1
fi
echo "test: all green"
