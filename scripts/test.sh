#!/usr/bin/env bash
# What must hold of every change, on a fresh Debian or Ubuntu machine as root, in less than a quarter of an hour on two
# cores: set-up, lint, types, the API's contract with its past, unit and contract tests, the simulation, and tests on real
# hosts, as many as fit; `npm run test:lab` has all of these. Ends with the sum of all tests on a line of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
export PATH="$PWD/node_modules/.bin:$PATH"
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$PWD/.cache/node-compile}"
DROVER_TEST_SUMMARY=$(mktemp)
export DROVER_TEST_SUMMARY
asides=$(mktemp -d)
trap 'rm -rf "$DROVER_TEST_SUMMARY" "$asides"' EXIT
# Of the tests on real hosts those by which a change shows first that it broke something: the whole way of a machine, a
# dozen ways to lose somebody in a handoff, and one or two cases of each kind of thing that only real hosts can show.
chosen=(
  "test/lab/matrix.test.ts"
  "test/lab/drain.test.ts finds another target"
  "test/lab/main-job.test.ts"
  "test/lab/faults-at-rest.test.ts"
  "test/lab/ownership.test.ts lost its power|only cut off|second agent"
  "test/lab/explain.test.ts 4 agent|5 libvirt"
  "test/lab/driver.test.ts keeps the contract|connects again|moves a running guest"
  "test/lab/local-disks.test.ts takes them along"
  "test/lab/convergence.test.ts that is to be given up"
  "test/lab/console.test.ts there and back"
  "test/lab/security-T21-migration-port.test.ts"
  "test/lab/security-T24-foreign-libvirt.test.ts"
)

failed=0
step() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@" || { failed=1; echo "== $name failed" >&2; }
  echo "== $name: $((SECONDS - began)) s"
}

step "lint" oxlint --type-aware --deny-warnings
step "types" tsc --noEmit
step "proto lint" buf lint
step "proto format" buf format --diff --exit-code
step "proto image" buf build --exclude-source-info -o gen/api.binpb
step "proto breaking" buf breaking gen/api.binpb --against proto/baseline.binpb --exclude-imports
# Tests wait more than they work, so three kinds go side by side; the words of those aside come when they have ended.
jobs=()
aside() {
  (step "$@"; exit "$failed") >"$asides/${#jobs[@]}" 2>&1 &
  jobs+=("$!")
}
together() {
  local index
  for index in "${!jobs[@]}"; do
    wait "${jobs[index]}" || failed=1
    cat "$asides/$index"
  done
}

aside "unit and model tests" mocha 'test/unit/**/*.test.ts' 'test/model/*.test.ts' 'test/sim/*.test.ts' 'test/*.test.ts'
aside "security tests" mocha 'test/security/**/*.test.ts'
step "contract tests" mocha 'test/contract/**/*.test.ts'
together

# Limited by the processors alone, so nothing goes beside it.
step "simulation" node test/sim/main.ts --seeds 300 --mutants

step "tests on real hosts" bash scripts/lab.sh "${chosen[@]}"

node scripts/test-summary.ts "$DROVER_TEST_SUMMARY"
exit "$failed"
