#!/usr/bin/env bash
# Builds the lab's guest, a Linux kernel and a busybox initramfs of a few megabytes, into .cache/guest. The kernel
# comes out of the distribution's package, which is unpacked and never installed: the machine's own boot stays as it is.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache/guest
init=$root/test/lab/guest/init

# What the guest's devices need; their dependencies are found in the modules themselves. A module that a kernel
# does not have is built in there, or the device is of no use to the lab.
modules=(virtio_pci virtio_mmio virtio_blk virtio_console virtio_balloon virtio_mem virtio_net virtio_scsi virtio-rng
  button evdev pvpanic pvpanic-pci pvpanic-mmio sd_mod sr_mod ahci ata_piix isofs)

main() {
  mkdir -p "$cache/packages"
  exec 9>"$cache/lock"
  flock 9
  if up_to_date; then return; fi
  build=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$build"' EXIT
  ls "$cache"/packages/*.deb >/dev/null 2>&1 || download_kernel
  for package in "$cache"/packages/*.deb; do dpkg-deb -x "$package" "$build/kernel"; done
  pack_initramfs
  cp "$(find "$build/kernel/boot" -name 'vmlinuz-*' | head -n 1)" "$build/vmlinuz"
  chmod 644 "$build/vmlinuz"
  mv "$build/vmlinuz" "$build/initrd.img" "$cache/"
}

up_to_date() {
  local output source
  for output in "$cache/vmlinuz" "$cache/initrd.img"; do
    [ -s "$output" ] || return 1
    for source in "$init" "${BASH_SOURCE[0]}"; do [ ! "$source" -nt "$output" ] || return 1; done
  done
}

download_kernel() {
  local meta image extra
  for meta in linux-image-cloud-amd64 linux-image-virtual linux-image-kvm linux-image-generic; do
    image=$(depends_on "$meta" '^linux-image-')
    [ -n "$image" ] && break
  done
  if [ -z "$image" ]; then
    echo "guest.sh: no kernel package is known to apt: run 'apt-get update' first" >&2
    exit 2
  fi
  extra=$(depends_on "$image" '^linux-modules-')
  echo "guest.sh: downloading $image $extra" >&2
  (cd "$cache/packages" && apt-get -qq -o APT::Sandbox::User=root download "$image" $extra) >&2
}

depends_on() {
  apt-cache depends --important "$1" 2>/dev/null | awk -v name="$2" '/Depends:/ && $2 ~ name {print $2; exit}' || true
}

pack_initramfs() {
  local tree=$build/tree applet
  mkdir -p "$tree"/{bin,dev,etc,proc,sys,tmp,modules}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"; done
  install -m 755 "$init" "$tree/init"
  index_modules
  for applet in "${modules[@]}"; do add_module "$applet" "$tree/modules"; done
  (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$build/initrd.img"
}

declare -A module_path module_done

index_modules() {
  local path name
  while read -r path; do
    name=$(basename "$path")
    name=${name%%.ko*}
    module_path[${name//-/_}]=$path
  done < <(find "$build/kernel" -name '*.ko*' -path '*/kernel/*')
}

# A module goes in after all that it depends on, so that the guest can insert them in the order of the list.
add_module() {
  local name=${1//-/_} directory=$2 path dependency
  path=${module_path[$name]:-}
  if [ -z "$path" ] || [ -n "${module_done[$name]:-}" ]; then return; fi
  module_done[$name]=yes
  case $path in
    *.zst) zstd -dqc "$path" ;;
    *.xz) xz -dc "$path" ;;
    *) cat "$path" ;;
  esac >"$directory/$name.ko"
  for dependency in $(tr '\0' '\n' <"$directory/$name.ko" | grep -a '^depends=' | cut -d= -f2 | tr ',' ' '); do
    add_module "$dependency" "$directory"
  done
  echo "$name.ko" >>"$directory/order"
}

main "$@"
