#!/usr/bin/env bash
# Measures Drover against what it stands on: `npm run bench -- [PART...] [--quick] [--pairs N]`. As root, for the hosts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
if [ "$(id -u)" != 0 ]; then
  echo "bench: the hosts are made of namespaces, which needs root: run it as root" >&2
  exit 2
fi
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$PWD/.cache/node-compile}"
exec node_modules/.bin/node bench/main.ts "$@"
