#!/usr/bin/env bash
# The tests on real hosts in the files that are named, three files at a time: they wait more than they work. Files begin in
# the order given, so that the longest should come first. What a file says is shown when it has ended. Exit 1 if any failed.
set -euo pipefail

shown=$(mktemp)
trap 'rm -f "$shown"' EXIT
export shown

one_file() {
  local words code=0
  words=$(mktemp)
  mocha --config test/lab/mocharc.json "$1" >"$words" 2>&1 || code=1
  { echo "-- $1: $SECONDS s"; cat "$words"; } | flock "$shown" cat
  rm -f "$words"
  return "$code"
}
export -f one_file

printf '%s\n' "$@" | xargs -P 3 -I '{}' bash -c 'one_file "$1"' _ '{}' || exit 1
