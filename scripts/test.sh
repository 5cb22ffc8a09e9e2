#!/usr/bin/env bash
# Everything that must hold, on a fresh Debian or Ubuntu machine as root: set-up, lint, types, the API's contract with
# its past, unit and contract tests, then the tests on real hosts. Ends with the sum of all tests on a line of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
export PATH="$PWD/node_modules/.bin:$PATH"
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$PWD/.cache/node-compile}"
DROVER_TEST_SUMMARY=$(mktemp)
export DROVER_TEST_SUMMARY
aside_words=$(mktemp)
trap 'rm -f "$DROVER_TEST_SUMMARY" "$aside_words"' EXIT
longest=(test/lab/{faults-in-migration,faults-at-rest,preflight,local-disks-faults,convergence,console,ownership,drain}.test.ts)

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
step "proto image" buf build -o gen/api.binpb
step "proto breaking" buf breaking gen/api.binpb --against proto/baseline.binpb --exclude-imports
# Tests wait more than they work, so two kinds go side by side; the words of the one aside come when both have ended.
aside() {
  (step "$@"; exit "$failed") >"$aside_words" 2>&1 &
}
together() {
  wait "$!" || failed=1
  cat "$aside_words"
}

aside "unit, security and model tests" mocha 'test/unit/**/*.test.ts' 'test/security/**/*.test.ts' 'test/model/*.test.ts' 'test/sim/*.test.ts' 'test/*.test.ts'
step "contract tests" mocha 'test/contract/**/*.test.ts'
together

# Limited by the processors alone, so nothing goes beside it.
step "simulation" node test/sim/main.ts --seeds 300 --mutants

mapfile -t others < <(printf '%s\n' test/lab/*.test.ts | grep -vxFf <(printf '%s\n' "${longest[@]}"))
step "tests on real hosts" bash scripts/lab.sh "${longest[@]}" "${others[@]}"

node scripts/test-summary.ts "$DROVER_TEST_SUMMARY"
exit "$failed"
