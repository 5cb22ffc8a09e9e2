#!/usr/bin/env bash
# The tests on real hosts that are named, two at a time: they wait more than they work. Each argument is a file, and after a
# space which of its tests, as mocha's --grep takes it. They begin in the order given, so that the longest should come first.
# What one says is shown when it has ended. Guests by emulation take all of a small machine, and what failed beside another
# is tried once more alone: that is said, and only what fails alone has failed. Exit 1 if any did.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
summary=${DROVER_TEST_SUMMARY:-/dev/null}
export work summary

# The counts of a run that is repeated are those of the repetition.
one() {
  local named=$1 repeat=$2 file cases code=0 began=$SECONDS
  read -r file cases <<<"$named"
  local words=$work/${named//[^A-Za-z0-9]/_}
  DROVER_TEST_SUMMARY=$words.counts mocha --config test/lab/mocharc.json --fail-zero "$file" ${cases:+--grep "$cases"} >"$words" 2>&1 || code=1
  {
    flock 9
    echo "-- $named: $((SECONDS - began)) s"
    cat "$words"
    if [ "$code" = 1 ] && [ "$repeat" = later ]; then
      echo "$named" >>"$work/again"
    else
      cat "$words.counts" >>"$summary" 2>/dev/null || true
    fi
  } 9>"$work/lock"
  rm -f "$words.counts"
  [ "$repeat" = later ] || return "$code"
}
export -f one

printf '%s\n' "$@" | xargs -P 2 -d '\n' -I '{}' bash -c 'one "$1" later' _ '{}'

failed=0
while read -r named; do
  echo "-- $named failed beside another; once more, alone"
  bash -c 'one "$1" no' _ "$named" || failed=1
done < <(cat "$work/again" 2>/dev/null || true)
exit "$failed"
