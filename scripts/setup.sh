#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine ready for Drover's lab and demo: the packages that are missing, Node's modules, the
# generated code. It changes nothing that is there already and starts no service.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
node_version_min=18

packages=(
  libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients   # the hosts' daemon
  qemu-system-x86 qemu-utils                                  # the guests
  busybox-static genisoimage xz-utils zstd                    # the guest image and its seeds
  iproute2 iptables util-linux ca-certificates                # the hosts' namespaces and network
  strace                                                      # what a confined process opens
)

main() {
  install_packages
  require_node
  install_modules
  generate
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" = 0 ]; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    {
      echo "setup.sh: this machine lacks: ${missing[*]}"
      echo "Run as root, on Debian or Ubuntu:"
      echo "  apt-get install --no-install-recommends ${packages[*]}"
      echo "and Node $node_version_min or newer with npm, for example:"
      echo "  apt-get install --no-install-recommends nodejs npm"
    } >&2
    exit 2
  fi
  install_with_apt "${missing[@]}"
}

missing_packages() {
  if ! command -v dpkg-query >/dev/null; then
    printf '%s\n' "${packages[@]}"
    return
  fi
  local installed package
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
  for package in "${packages[@]}"; do
    grep -qx "$package installed" <<<"$installed" || echo "$package"
  done
}

# A service that the packages bring would be the machine's own libvirt, which the lab does not use.
install_with_apt() {
  echo "setup.sh: installing $*" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "$@" >&2
}

require_node() {
  if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then install_with_apt nodejs npm; fi
  local major
  major=$(node --version 2>/dev/null | sed 's/^v//; s/\..*//' || true)
  if ! command -v npm >/dev/null || [ "${major:-0}" -lt "$node_version_min" ]; then
    echo "setup.sh: Node $node_version_min or newer with npm is needed to install the project's own Node; found: ${major:-none}" >&2
    echo "Install it from https://nodejs.org or with: apt-get install --no-install-recommends nodejs npm" >&2
    exit 2
  fi
}

# The stamp is written after the installation, so that a broken one is done again.
install_modules() {
  local stamp=$root/node_modules/.drover-installed
  if [ -x "$root/node_modules/.bin/node" ]; then
    [ ! "$root/package-lock.json" -nt "$stamp" ] && return
    # Installed by hand with this very lock file: npm writes its own record last.
    if [ ! "$root/package-lock.json" -nt "$root/node_modules/.package-lock.json" ]; then touch "$stamp" && return; fi
  fi
  echo "setup.sh: npm ci" >&2
  cd "$root"
  local flags=(--ignore-scripts --no-audit --no-fund --loglevel=error)
  # npm ci refuses a lock file that does not name the optional packages of every other platform, which a registry may
  # not serve. The second form takes the locked versions as well and leaves the lock file as it is.
  if ! npm ci "${flags[@]}" >/dev/null 2>&1; then npm install --no-save "${flags[@]}" >&2; fi
  touch "$stamp"
}

generate() {
  local stamp=$root/gen/.drover-generated
  [ -d "$root/proto" ] || return 0
  if [ -f "$stamp" ] && [ -z "$(find "$root/proto" "$root"/buf*.yaml -newer "$stamp" -type f -print -quit)" ]; then return; fi
  echo "setup.sh: npm run generate" >&2
  (cd "$root" && npm run --silent --if-present generate >&2)
  if [ -d "$root/gen" ]; then touch "$stamp"; fi
}

main "$@"
