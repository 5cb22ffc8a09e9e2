#!/usr/bin/env bash
# The tests on real hosts in the files that are named, two files at a time: they wait more than they work. Files begin in
# the order given, so that the longest should come first. What a file says is shown when it has ended. Guests by emulation
# take all of a small machine, and a file that failed beside another is tried once more alone: that is said, and only what
# fails alone has failed. Exit 1 if any did.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
summary=${DROVER_TEST_SUMMARY:-/dev/null}
export work summary

# The counts of a run that is repeated are those of the repetition.
one_file() {
  local file=$1 repeat=$2 code=0
  local words=$work/${file//\//_}
  DROVER_TEST_SUMMARY=$words.counts mocha --config test/lab/mocharc.json "$file" >"$words" 2>&1 || code=1
  {
    flock 9
    echo "-- $file: $SECONDS s"
    cat "$words"
    if [ "$code" = 1 ] && [ "$repeat" = later ]; then
      echo "$file" >>"$work/again"
    else
      cat "$words.counts" >>"$summary" 2>/dev/null || true
    fi
  } 9>"$work/lock"
  rm -f "$words.counts"
  [ "$repeat" = later ] || return "$code"
}
export -f one_file

printf '%s\n' "$@" | xargs -P 2 -I '{}' bash -c 'one_file "$1" later' _ '{}'

failed=0
while read -r file; do
  echo "-- $file failed beside another; once more, alone"
  bash -c 'one_file "$1" no' _ "$file" || failed=1
done < <(cat "$work/again" 2>/dev/null || true)
exit "$failed"
