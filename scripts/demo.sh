#!/usr/bin/env bash
# Drover's main job on two real libvirt hosts, on this machine: `npm run demo`. With `--keep` it stays up afterwards,
# until `npm run demo:down`. Runs under any bash and any old Node, until `npm ci` has brought the project's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep=
for argument in "$@"; do
  case $argument in
    --keep) keep=1 ;;
    *) echo "usage: npm run demo [-- --keep]" >&2; exit 2 ;;
  esac
done

bash scripts/setup.sh
if [ "$(id -u)" != 0 ]; then
  echo "demo: the two hosts are made of namespaces, which needs root: run it as root" >&2
  exit 2
fi
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$PWD/.cache/node-compile}"
node=node_modules/.bin/node

if [ -z "$keep" ]; then exec "$node" scripts/demo.ts; fi

# The process that made the hosts must live as long as they do, so it goes on behind this script.
bash scripts/demo-down.sh
mkdir -p .drover-demo
: >.drover-demo/demo.log
setsid "$node" scripts/demo.ts --keep >>.drover-demo/demo.log 2>&1 </dev/null &
holder=$!
tail -n +1 -f --pid="$holder" .drover-demo/demo.log &
reader=$!
while kill -0 "$holder" 2>/dev/null && [ ! -e .drover-demo/ready ]; do sleep 0.2; done
sleep 0.3
if [ -e .drover-demo/ready ]; then
  disown "$holder"
  kill "$reader" 2>/dev/null || true
  exit 0
fi
wait "$holder"
