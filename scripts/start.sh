#!/usr/bin/env bash
# Drover on this one machine, against its own libvirt: `npm start [-- --directory DIR]`. Ctrl-C ends Drover; its guests
# run on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
if [ "$(id -u)" != 0 ]; then
  echo "start: libvirt's system instance and its disks need root: run it as root" >&2
  exit 2
fi
if ! timeout 30 virsh -c qemu:///system version >/dev/null 2>&1; then
  echo "start: libvirt does not answer at qemu:///system; start it, for example: systemctl start libvirtd virtlogd" >&2
  exit 2
fi
scripts/guest.sh
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$PWD/.cache/node-compile}"
exec node_modules/.bin/node scripts/start.ts "$@"
