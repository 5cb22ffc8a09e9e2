#!/usr/bin/env bash
# The first process of a lab host. It gives the host its own /proc, /run, /etc and libvirt directories, then lives as
# long as its standard input: when the lab's maker dies, however it dies, the input ends and the kernel ends the host.
set -euo pipefail

directory=$1 local_directory=$2 name=$3 address=$4

mount --make-rprivate /
mount -t proc proc /proc
hostname "$name"

# The machine's /etc shows through; what the host writes there is kept apart and lost with it, but for libvirt's own.
mount -t tmpfs tmpfs "$directory/scratch"
mkdir "$directory/scratch/upper" "$directory/scratch/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$directory/scratch/upper,workdir=$directory/scratch/work" /etc
rm -rf /etc/libvirt /etc/pki
mkdir -p /etc/libvirt /etc/pki /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
cp "$directory/hosts" /etc/hosts
# libvirtd looks this user up at its start, though no guest of the lab runs as it; not every package makes it.
if ! grep -q '^libvirt-qemu:' /etc/passwd; then
  echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>/etc/passwd
  grep -q '^libvirt-qemu:' /etc/group || echo 'libvirt-qemu:x:64055:' >>/etc/group
fi
mount --bind "$directory/etc/libvirt" /etc/libvirt
mount --bind "$directory/etc/pki" /etc/pki
for kind in lib log cache; do mount --bind "$directory/var/$kind" "/var/$kind/libvirt"; done
mount --bind "$directory/local" "$local_directory"
mount --bind "$directory/run" /run

read -r _ # The maker writes a line once eth0 is here.
ip link set lo up
ip addr add "$address" dev eth0
ip link set eth0 up

exec 3<&0 </dev/null
echo ready >"$directory/ready"
cat <&3 >/dev/null &
wait $!
