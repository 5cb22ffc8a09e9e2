#!/bin/sh
# Sourced by the four commands: finds the repository through symbolic links and starts a program with its own Node.
set -eu

launch() {
  main=$1
  shift
  root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
  node=$root/node_modules/.bin/node
  if [ ! -x "$node" ]; then
    echo "$(basename "$0"): $root/node_modules is missing or incomplete: run $root/scripts/setup.sh, or 'npm ci' there" >&2
    exit 2
  fi
  if [ -z "${NODE_COMPILE_CACHE:-}" ] && [ -w "$root" ]; then
    export NODE_COMPILE_CACHE="$root/.cache/node-compile"
  fi
  # Servers are named by address as well as by name; Node says at each start that it will send no such name to them.
  exec "$node" --disable-warning=DEP0123 "$root/$main" "$@"
}
